"""Builds the whole program's graph under mocks, with so many carriers; counts the building alone."""

from __future__ import annotations

import sys
import time

from bench.measure import say
from bench.settings import carriers
from tests import graph

if __name__ == "__main__":
    # Modules are loaded and zips are made by the first.
    graph.program("local")
    began = time.process_time()
    recorded = graph.program("local", {"event-gateway:carriers": carriers(int(sys.argv[1]))})
    say({"build": time.process_time() - began, "resources": len(recorded.nodes)})
