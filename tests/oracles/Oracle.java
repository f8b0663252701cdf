import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.jayway.jsonpath.Configuration;
import com.jayway.jsonpath.JsonPath;
import com.jayway.jsonpath.Option;
import com.jayway.jsonpath.spi.json.JacksonJsonProvider;
import com.jayway.jsonpath.spi.json.JsonProvider;
import com.jayway.jsonpath.spi.json.JsonSmartJsonProvider;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.StringWriter;
import java.io.Writer;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Base64;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import net.minidev.json.JSONValue;
import org.apache.commons.text.StringEscapeUtils;
import software.amazon.event.ruler.JsonRuleCompiler;
import software.amazon.event.ruler.Machine;

/**
 * AWS's Event Ruler and two Velocities behind one pipe: a question per line of standard input, its answer per line of
 * standard output, both JSON in ASCII.
 *
 * <p>{"engine": "ruler", "pattern": text, "event": text} is answered with {"matches": boolean}. {"engine":
 * "velocity-1.7" or "velocity-2.4.1", "template", "body", "context", "stageVariables", "parameters": {"path",
 * "querystring", "header"}} is answered with {"text", "status", "headers"}, the last two being what the template put into
 * $context.responseOverride. An engine that refuses answers {"refused": why}. Arguments: the archives of Velocity 1.7
 * and of 2.4.1.
 */
public final class Oracle {
    private static final ObjectMapper JSON =
            JsonMapper.builder().enable(JsonWriteFeature.ESCAPE_NON_ASCII).build();
    private static final TypeReference<LinkedHashMap<String, Object>> MAP = new TypeReference<>() {};
    private static final TypeReference<LinkedHashMap<String, Map<String, String>>> PARAMETERS =
            new TypeReference<>() {};

    private Oracle() {}

    public static void main(String[] archives) throws Exception {
        Map<String, Velocity> velocities = Map.of(
                "velocity-1.7", new Velocity(Path.of(archives[0]), new JsonSmart()),
                "velocity-2.4.1", new Velocity(Path.of(archives[1]), new Jackson()));
        BufferedReader questions = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.US_ASCII);
        for (String line; (line = questions.readLine()) != null; ) {
            JsonNode question = JSON.readTree(line);
            String engine = question.get("engine").textValue();
            Map<String, ?> answer =
                    engine.equals("ruler") ? matched(question) : velocities.get(engine).rendered(question);
            answers.println(JSON.writeValueAsString(answer));
        }
    }

    private static Map<String, ?> matched(JsonNode question) {
        String pattern = question.get("pattern").textValue();
        // RuleCompiler's check is stricter than EventBridge: it refuses `$or`.
        String invalid = JsonRuleCompiler.check(pattern);
        if (invalid != null) {
            return Map.of("refused", invalid);
        }
        try {
            Machine machine = Machine.builder().build();
            machine.addRule("rule", pattern);
            return Map.of("matches", !machine.rulesForJSONEvent(question.get("event").textValue()).isEmpty());
        } catch (Exception error) {
            return Map.of("refused", error.toString());
        }
    }

    /** What templates read and write JSON with. */
    private interface Json {
        JsonProvider provider();

        String text(Object value) throws IOException;
    }

    /** Lists and maps print themselves as API Gateway's are reported to do. */
    private record JsonSmart(JsonProvider provider) implements Json {
        JsonSmart() {
            this(new JsonSmartJsonProvider());
        }

        @Override
        public String text(Object value) {
            return JSONValue.toJSONString(value);
        }
    }

    /** A second opinion. */
    private record Jackson(JsonProvider provider) implements Json {
        private static final ObjectMapper MAPPER = new ObjectMapper();

        Jackson() {
            this(new JacksonJsonProvider(MAPPER));
        }

        @Override
        public String text(Object value) throws IOException {
            return MAPPER.writeValueAsString(value);
        }
    }

    /** One version of Velocity, in a class loader of its own: both have the same names of classes. */
    private static final class Velocity {
        private final Json json;
        private final Class<?> contextType;
        private final Object engine;
        private final Method evaluate;

        Velocity(Path archive, Json json) throws Exception {
            this.json = json;
            ClassLoader loader =
                    new URLClassLoader(new URL[] {archive.toUri().toURL()}, Oracle.class.getClassLoader());
            // Velocity 1.7 looks for its own parts there.
            Thread.currentThread().setContextClassLoader(loader);
            Class<?> type = loader.loadClass("org.apache.velocity.app.VelocityEngine");
            contextType = loader.loadClass("org.apache.velocity.VelocityContext");
            engine = type.getConstructor().newInstance();
            Properties settings = new Properties();
            settings.setProperty("runtime.log.logsystem.class", "org.apache.velocity.runtime.log.NullLogChute");
            // Velocity 1.7 always does, API Gateway has to: Retry-After is a header's name.
            settings.setProperty("parser.allow_hyphen_in_identifiers", "true");
            type.getMethod("init", Properties.class).invoke(engine, settings);
            evaluate = type.getMethod(
                    "evaluate",
                    loader.loadClass("org.apache.velocity.context.Context"),
                    Writer.class,
                    String.class,
                    String.class);
        }

        Map<String, ?> rendered(JsonNode question) throws Exception {
            Map<String, Object> context = JSON.convertValue(question.get("context"), MAP);
            Map<String, Object> overridden = new LinkedHashMap<>(Map.of("header", new LinkedHashMap<>()));
            context.put("responseOverride", overridden);
            Map<String, Object> variables = new HashMap<>();
            variables.put("context", context);
            variables.put("stageVariables", JSON.convertValue(question.get("stageVariables"), MAP));
            variables.put("util", new Util(json));
            StringWriter text = new StringWriter();
            try {
                variables.put("input", new Input(question, json));
                evaluate.invoke(
                        engine,
                        contextType.getConstructor(Map.class).newInstance(variables),
                        text,
                        "template",
                        question.get("template").textValue());
            } catch (InvocationTargetException error) {
                return Map.of("refused", error.getCause().toString());
            }
            Map<String, Object> answer = new HashMap<>();
            // Through UTF-8, as everything that leaves is.
            answer.put("text", new String(text.toString().getBytes(StandardCharsets.UTF_8), StandardCharsets.UTF_8));
            answer.put("status", overridden.get("status"));
            answer.put("headers", overridden.get("header"));
            return answer;
        }
    }

    /** `$input`, by API Gateway's documentation and, where that is silent, the reports that sandbox/vtl.py names. */
    public static final class Input {
        private final String body;
        private final Map<String, Map<String, String>> parameters;
        private final Json json;

        Input(JsonNode question, Json json) {
            this.body = question.get("body").textValue();
            this.parameters = JSON.convertValue(question.get("parameters"), PARAMETERS);
            this.json = json;
        }

        public String getBody() {
            return body.isEmpty() ? "{}" : body;
        }

        public Object path(String path) {
            if (body.isEmpty()) {
                return null;
            }
            Configuration configuration = Configuration.builder()
                    .jsonProvider(json.provider())
                    .options(Option.SUPPRESS_EXCEPTIONS)
                    .build();
            return JsonPath.using(configuration).parse(json.provider().parse(body)).read(path);
        }

        public String json(String path) throws IOException {
            Object found = path(path);
            return json.text(found == null ? "" : found);
        }

        public Map<String, Map<String, String>> params() {
            return parameters;
        }

        public String params(String name) {
            for (String place : List.of("path", "querystring", "header")) {
                if (parameters.get(place).containsKey(name)) {
                    return parameters.get(place).get(name);
                }
            }
            return "";
        }
    }

    /** `$util`, by API Gateway's documentation. */
    public static final class Util {
        private final Json json;

        Util(Json json) {
            this.json = json;
        }

        public String escapeJavaScript(String text) {
            return StringEscapeUtils.escapeEcmaScript(text);
        }

        public Object parseJson(String text) {
            return json.provider().parse(text);
        }

        public String urlEncode(String text) {
            return URLEncoder.encode(text, StandardCharsets.UTF_8);
        }

        public String urlDecode(String text) {
            return URLDecoder.decode(text, StandardCharsets.UTF_8);
        }

        public String base64Encode(String text) {
            return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
        }

        public String base64Decode(String text) {
            return new String(Base64.getDecoder().decode(text), StandardCharsets.UTF_8);
        }
    }
}
