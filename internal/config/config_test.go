package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// The document that the predecessor's E2E ConfigMap carries.
const e2eDocument = `server:
  port: 8080
  host: "0.0.0.0"
  read_timeout: 30s
  write_timeout: 30s
logging:
  level: info
  format: json
holmesgpt:
  url: http://holmesgpt-api:8080
  timeout: 60s
datastorage:
  url: http://datastorage:8080
  timeout: 60s
rego:
  policy_path: /etc/aianalysis/policies/approval.rego
`

// The sections that every service of the predecessor was to have.
const commonSections = `controller:
  metrics_addr: ":9090"
  health_probe_addr: ":8081"
  leader_election: true
  leader_election_id: aianalysis.kubernaut.ai
infrastructure:
  data_storage_url: http://store:8080
`

const predecessorStorage = `server:
  port: 8080
  host: 0.0.0.0
  read_timeout: 30s
  write_timeout: 30s
logging:
  level: INFO
  format: console
database:
  host: postgresql
  port: 5432
  name: action_history
  user: slm_user
  ssl_mode: disable
  max_open_conns: 40
  max_idle_conns: 10
  conn_max_lifetime: 5m
  conn_max_idle_time: 10m
  secretsFile: SECRETS
  usernameKey: username
  passwordKey: password
redis:
  addr: redis:6379
  db: 0
  secretsFile: /etc/redis.yaml
  passwordKey: password
`

const predecessorHAPI = `service_name: holmesgpt-api
version: "1.0.0"
dev_mode: false
auth_enabled: false
log_level: WARNING
api_host: 127.0.0.1
api_port: 8088
llm:
  provider: mock
  model: mock/test-model
  endpoint: http://localhost:11434
data_storage:
  url: http://datastorage:8080
kubernetes:
  service_host: kubernetes.default.svc
  service_port: 443
metrics: {enabled: true}
`

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// environ returns a stand-in for os.Getenv that knows only the given pairs.
func environ(pairs ...string) func(string) string {
	vars := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		vars[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return vars[name] }
}

func TestDefaultsAreValid(t *testing.T) {
	for name, err := range map[string]error{
		"AIAnalysis":   DefaultAIAnalysis().Validate(),
		"HolmesGPTAPI": DefaultHolmesGPTAPI().Validate(),
		"DataStorage":  DefaultDataStorage().Validate(),
	} {
		if err != nil {
			t.Errorf("%s: the built-in configuration is not valid: %v", name, err)
		}
	}
}

func TestTablesNameKeysThatExist(t *testing.T) {
	check := func(service service) {
		def, root := service.definition(), reflect.ValueOf(service).Elem()
		for _, target := range def.aliases {
			fieldAt(root, target) // panics when there is none
		}
		for _, o := range def.overrides {
			fieldAt(root, o.key)
		}
	}
	check(&AIAnalysis{})
	check(&HolmesGPTAPI{})
	check(&DataStorage{})
}

func TestLoadAIAnalysisDocuments(t *testing.T) {
	tests := []struct {
		name, document string
		change         func(*AIAnalysis)
		warnings       []string
	}{
		{name: "empty file", document: "", change: func(*AIAnalysis) {}},
		{name: "only a comment", document: "# nothing\n", change: func(*AIAnalysis) {}},
		{name: "sections without keys", document: "holmesgpt:\nrego: {}\n", change: func(*AIAnalysis) {}},
		{
			name: "document of the E2E ConfigMap", document: e2eDocument,
			change:   func(c *AIAnalysis) { c.DataStorage.Timeout = time.Minute },
			warnings: []string{"config.yaml:1: server: accepted, and has no effect: the controller serves no API of its own, only metrics and probes"},
		},
		{
			name: "common sections", document: commonSections,
			change: func(c *AIAnalysis) {
				c.Controller.LeaderElection = true
				c.DataStorage.URL = "http://store:8080"
			},
		},
		{
			name:     "older and newer key that agree",
			document: "datastorage: {url: 'http://store:1'}\ninfrastructure: {data_storage_url: 'http://store:1'}\n",
			change:   func(c *AIAnalysis) { c.DataStorage.URL = "http://store:1" },
		},
		{
			name:     "list",
			document: "controller:\n  namespaces: [shop, bank]\n",
			change:   func(c *AIAnalysis) { c.Controller.Namespaces = []string{"shop", "bank"} },
		},
		{
			name:     "shutdown near the pod's grace",
			document: "shutdown_timeout: 30s\n",
			change:   func(c *AIAnalysis) { c.ShutdownTimeout = 30 * time.Second },
			warnings: []string{"config.yaml:1: shutdown_timeout: 30s is near or above the 30s that a pod gets by default; raise terminationGracePeriodSeconds with it"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "config.yaml", tt.document)
			got, err := LoadAIAnalysis(path, environ())
			if err != nil {
				t.Fatal(err)
			}
			for i := range got.Warnings {
				got.Warnings[i] = strings.ReplaceAll(got.Warnings[i], path, "config.yaml")
			}
			want := DefaultAIAnalysis()
			want.Warnings = tt.warnings
			tt.change(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoadHolmesGPTAPI(t *testing.T) {
	path := write(t, "config.yaml", predecessorHAPI)
	got, err := LoadHolmesGPTAPI("", environ("CONFIG_FILE", path, "DATA_STORAGE_TIMEOUT", "12", "LOG_LEVEL", "ERROR"))
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultHolmesGPTAPI()
	want.Server.Host, want.Server.Port = "127.0.0.1", 8088
	want.LLM.Provider, want.LLM.Model, want.LLM.Endpoint = "mock", "mock/test-model", "http://localhost:11434"
	want.Mock = true
	want.DataStorage.Timeout = 12 * time.Second
	want.Logging.Level = "error"
	want.Warnings = got.Warnings
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	var keys []string
	for _, w := range got.Warnings {
		_, rest, _ := strings.Cut(w, ": ")
		key, _, _ := strings.Cut(rest, ":")
		keys = append(keys, key)
	}
	wantKeys := []string{"version", "dev_mode", "kubernetes.service_host", "kubernetes.service_port", "metrics"}
	if diff := cmp.Diff(wantKeys, keys); diff != "" {
		t.Errorf("keys warned of (-want +got):\n%s", diff)
	}
}

func TestMockMode(t *testing.T) {
	tests := []struct {
		name, document, env string
		want                bool
	}{
		{"default", "", "", false},
		{"variable", "", "True", true},
		{"key", "mock: true", "", true},
		{"provider", "llm: {provider: mock}", "", true},
		{"variable over provider", "llm: {provider: mock}", "false", false},
		{"key over provider", "mock: false\nllm: {provider: mock}", "", false},
		{"variable over key", "mock: true", "false", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := LoadHolmesGPTAPI(write(t, "c.yaml", tt.document), environ("MOCK_LLM_MODE", tt.env))
			if err != nil || got.Mock != tt.want {
				t.Errorf("mock = %v, %v, want %v", got.Mock, err, tt.want)
			}
		})
	}
}

func TestLoadDataStorage(t *testing.T) {
	for name, secrets := range map[string]string{
		"YAML": "username: keeper\npassword: s3cr3t\n",
		"JSON": `{"username":"keeper","password":"s3cr3t"}`,
	} {
		t.Run(name, func(t *testing.T) {
			document := strings.Replace(predecessorStorage, "SECRETS", write(t, "secrets", secrets), 1)
			got, err := LoadDataStorage(write(t, "config.yaml", document), environ("SHUTDOWN_TIMEOUT", "10s", "ENV", "production"))
			if err != nil {
				t.Fatal(err)
			}
			if got.Database.Driver != DriverPostgres {
				t.Errorf("driver = %q, want %q: there is a host", got.Database.Driver, DriverPostgres)
			}
			if got.Database.Password.Reveal() != "s3cr3t" || got.Database.User != "keeper" {
				t.Errorf("credentials were not taken from the secrets file: user %q", got.Database.User)
			}
			if got.Database.MaxOpenConns != 40 || got.Database.MaxIdleConns != 10 {
				t.Errorf("pool = %d, %d, want 40, 10", got.Database.MaxOpenConns, got.Database.MaxIdleConns)
			}
			if got.ShutdownTimeout != 10*time.Second || got.Logging.Format != "json" || got.Logging.Level != "info" {
				t.Errorf("shutdown %s, logging %+v", got.ShutdownTimeout, got.Logging)
			}
			if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "redis: accepted, and has no effect") {
				t.Errorf("warnings = %q, want one about redis", got.Warnings)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	storage := func(path string, env func(string) string) (any, error) { return LoadDataStorage(path, env) }
	hapi := func(path string, env func(string) string) (any, error) { return LoadHolmesGPTAPI(path, env) }
	controller := func(path string, env func(string) string) (any, error) { return LoadAIAnalysis(path, env) }
	tests := []struct {
		name     string
		load     func(string, func(string) string) (any, error)
		document string
		env      []string
		want     []string
	}{
		{
			name: "unknown key", load: controller, document: "holmesgpt:\n  urll: http://x\n",
			want: []string{`FILE:2: holmesgpt.urll: unknown key; did you mean "url"?`},
		},
		{
			name: "unknown key near none", load: controller, document: "rego:\n  file: x\n",
			want: []string{`FILE:2: rego.file: unknown key; allowed here: evaluation_timeout, policy_path`},
		},
		{
			name: "key with dashes", load: controller, document: "rego:\n  policy-path: x\n",
			want: []string{`FILE:2: rego.policy-path: unknown key; did you mean "policy_path"?`},
		},
		{
			name: "wrong case", load: controller, document: "holmesgpt:\n  timeout: 5s\n  Timeout: 5s\n",
			want: []string{`FILE:3: holmesgpt.Timeout: unknown key; keys are case-sensitive: did you mean "timeout"?`},
		},
		{
			name: "repeated key", load: controller, document: "rego:\n  policy_path: a\n  policy_path: b\n",
			want: []string{`FILE:3: rego.policy_path: repeated key: it is set in line 2 already`},
		},
		{
			name: "repeated section", load: controller, document: "rego: {}\nlogging: {}\nrego: {}\n",
			want: []string{`FILE:3: rego: repeated key: it is set in line 1 already`},
		},
		{
			name: "two older documents that differ", load: controller,
			document: "infrastructure:\n  data_storage_url: http://b\ndatastorage:\n  url: http://a\n",
			want:     []string{`FILE:2: infrastructure.data_storage_url: differs from datastorage.url in line 4, which means the same; keep one of them`},
		},
		{
			name: "older section, unknown key", load: controller, document: "infrastructure:\n  redis: x\n",
			want: []string{`FILE:2: infrastructure.redis: unknown key; allowed here: data_storage_url`},
		},
		{
			name: "wrong types", load: controller,
			document: "controller:\n  leader_election: yes\n  max_concurrent_reconciles: many\nholmesgpt:\n  timeout: 60\nreview:\n  confidence_threshold: high\nrego: x\n",
			want: []string{
				`FILE:2: controller.leader_election: the text "yes" is not true or false`,
				`FILE:3: controller.max_concurrent_reconciles: the text "many" is not a whole number`,
				`FILE:5: holmesgpt.timeout: "60" is not a duration; write a number with its unit, for example "500ms", "60s" or "5m"`,
				`FILE:7: review.confidence_threshold: the text "high" is not a number`,
				`FILE:8: rego: must be a section of keys and values, not the text "x"`,
			},
		},
		{
			name: "section and list where text belongs", load: controller, document: "rego:\n  policy_path: {a: b}\nholmesgpt:\n  url: [a]\ncontroller:\n  namespaces: shop\n",
			want: []string{
				`FILE:2: rego.policy_path: must be text, not a section`,
				`FILE:4: holmesgpt.url: must be text, not a list`,
				`FILE:6: controller.namespaces: must be a list, not the text "shop"`,
			},
		},
		{
			name: "no value", load: controller, document: "holmesgpt:\n  url:\n",
			want: []string{`FILE:2: holmesgpt.url: has no value; give one or remove the key`},
		},
		{
			name: "anchors and merges", load: controller, document: "rego: &r\n  policy_path: &p x\nlogging:\n  <<: *r\n  level: *p\n",
			want: []string{
				`FILE:4: logging.<<: merge keys are not supported; write the values out`,
				`FILE:5: logging.level: YAML anchors are not supported; write the value out`,
			},
		},
		{
			name: "values", load: controller,
			document: "controller:\n  metrics_addr: \":8081\"\n  leader_election_id: \"\"\n  namespaces:\n  - shop\n  - Shop\nholmesgpt:\n  url: ftp://x\n  retry: {max_attempts: 0, base: 1h, max: 1m}\nlogging: {level: loud}\nreview: {confidence_threshold: 1.5}\n",
			want: []string{
				`FILE:2: controller.metrics_addr: has the same port as controller.health_probe_addr (8081); give each its own`,
				`FILE:3: controller.leader_election_id: is required and must not be empty`,
				`FILE:4: controller.namespaces[1]: "Shop" is not a namespace name: lower-case letters, digits and dashes, at most 63`,
				`FILE:8: holmesgpt.url: "ftp://x" is not an http or https URL with a host, for example "http://datastorage:8080"`,
				`FILE:9: holmesgpt.retry.max_attempts: 0 is not between 1 and 100`,
				`FILE:9: holmesgpt.retry.max: 1m0s is not between 1h0m0s and 24h0m0s`,
				`FILE:10: logging.level: "loud" is not one of "debug", "info", "warn", "error"`,
				`FILE:11: review.confidence_threshold: 1.5 is not between 0 and 1`,
			},
		},
		{
			name: "URLs", load: hapi, document: "llm: {provider: gpt, endpoint: 'http://x/?k=v'}\ndata_storage: {url: 'http://u:p@x'}\n",
			want: []string{
				`FILE:1: llm.provider: "gpt" is not one of "", "mock", "openai", "anthropic", "ollama", "google", "vertex_ai"`,
				`FILE:1: llm.endpoint: "http://x/?k=v" must end with its path: no query and no fragment`,
				`FILE:2: data_storage.url: must not hold a user or a password`,
			},
		},
		{
			name: "authentication is not pretended", load: hapi, env: []string{"AUTH_ENABLED", "true"},
			want: []string{`environment variable AUTH_ENABLED: auth_enabled: callers cannot be authenticated by this service; set it to false and admit only the controller by a NetworkPolicy`},
		},
		{
			name: "variables", load: controller, env: []string{"HOLMESGPT_API_URL", "nowhere", "DATASTORAGE_URL", "http://x:99999"},
			want: []string{
				`environment variable HOLMESGPT_API_URL: holmesgpt.url: "nowhere" is not an http or https URL with a host, for example "http://datastorage:8080"`,
				`environment variable DATASTORAGE_URL: datastorage.url: port "99999" is not between 1 and 65535`,
			},
		},
		{
			name: "variables that contradict each other", load: hapi, env: []string{"DATA_STORAGE_URL", "http://a", "DATASTORAGE_URL", "http://b"},
			want: []string{`environment variable DATASTORAGE_URL: data_storage.url: differs from environment variable DATA_STORAGE_URL, which means the same; keep one of them`},
		},
		{
			name: "variable of the wrong type", load: hapi, env: []string{"MOCK_LLM_MODE", "on", "DATA_STORAGE_TIMEOUT", "soon"},
			want: []string{
				`environment variable DATA_STORAGE_TIMEOUT: data_storage.timeout: "soon" is not a duration; write a number with its unit, for example "500ms", "60s" or "5m"`,
				`environment variable MOCK_LLM_MODE: mock: "on" is not true or false`,
			},
		},
		{
			name: "postgres without its settings", load: storage, document: "server: {port: 80}\ndatabase:\n  driver: postgres\n  ssl_mode: maybe\n  port: 0\n  passwordKey: p\n",
			want: []string{
				`FILE:1: server.port: 80 is not between 1024 and 65535 (or 0, for any free port)`,
				`FILE:2: database.host: is required and must not be empty`,
				`FILE:2: database.name: is required and must not be empty`,
				`FILE:2: database.user: is required and must not be empty`,
				`FILE:2: database.secretsFile: and database.passwordKey go together: give both, or neither for a server that asks for no password`,
				`FILE:4: database.ssl_mode: "maybe" is not one of "disable", "allow", "prefer", "require", "verify-ca", "verify-full"`,
				`FILE:5: database.port: 0 is not between 1 and 65535`,
			},
		},
		{
			name: "two documents", load: storage, document: "server: {}\n---\nserver: {}\n",
			want: []string{`FILE:2: a second YAML document begins here; the file must hold one`},
		},
		{
			name: "not YAML", load: storage, document: "server:\n  port: 8080\n bad: x\n",
			want: []string{`FILE:2: not valid YAML at or after this line: did not find expected key`},
		},
		{
			name: "not a mapping", load: storage, document: "- a\n",
			want: []string{`FILE:1: must be a section of keys and values, not a list`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "config.yaml", tt.document)
			_, err := tt.load(path, environ(tt.env...))
			var faults *Error
			if !errors.As(err, &faults) {
				t.Fatalf("error = %v, want an *Error", err)
			}
			var got []string
			for _, f := range faults.Faults {
				got = append(got, strings.ReplaceAll(f.Error(), path, "FILE"))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s\ninput:\n%s", diff, tt.document)
			}
		})
	}
}

func TestErrorListsAllFaults(t *testing.T) {
	one := &Error{Faults: []Fault{{File: "f", Line: 2, Key: "a", Message: "bad"}}}
	if got, want := one.Error(), "configuration: f:2: a: bad"; got != want {
		t.Errorf("one fault: %q, want %q", got, want)
	}
	two := &Error{Faults: []Fault{{Key: "a", Message: "bad"}, {File: "f", Message: "worse"}}}
	if got, want := two.Error(), "configuration has 2 faults:\n  a: bad\n  f: worse"; got != want {
		t.Errorf("two faults: %q, want %q", got, want)
	}
}

func TestSecretsFileFaultsShowNoSecret(t *testing.T) {
	for name, secrets := range map[string]string{
		"missing key":    "other: s3cr3t\n",
		"not an object":  "- s3cr3t\n",
		"not text":       "password: {a: s3cr3t}\n",
		"broken":         "password: [s3cr3t\n",
		"tab":            "password:\ts3cr3t\n\tx: s3cr3t",
		"empty password": "password: ''\nold: s3cr3t\n",
	} {
		t.Run(name, func(t *testing.T) {
			document := fmt.Sprintf("database: {host: h, name: n, user: u, secretsFile: %q, passwordKey: password}\n",
				write(t, "secrets", secrets))
			_, err := LoadDataStorage(write(t, "config.yaml", document), environ())
			var faults *Error
			if !errors.As(err, &faults) || len(faults.Faults) != 1 {
				t.Fatalf("error = %v, want one fault", err)
			}
			if strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("the error shows the secret: %v", err)
			}
			if key := faults.Faults[0].Key; key != "database.secretsFile" && key != "database.passwordKey" {
				t.Errorf("key = %q", key)
			}
		})
	}
}

func TestPrecedence(t *testing.T) {
	path := write(t, "config.yaml", "holmesgpt:\n  url: http://file\n")
	tests := []struct {
		name, want string
		env, args  []string
	}{
		{name: "default", want: "http://holmesgpt-api:8080"},
		{name: "file", want: "http://file", args: []string{"-config", path}},
		{name: "two dashes", want: "http://file", args: []string{"--config=" + path}},
		{name: "file of CONFIG_PATH", want: "http://file", env: []string{"CONFIG_PATH", path}},
		{name: "variable", want: "http://env", args: []string{"-config", path}, env: []string{"HOLMESGPT_API_URL", "http://env"}},
		{
			name: "flag", want: "http://flag", env: []string{"HOLMESGPT_API_URL", "http://env"},
			args: []string{"-config", path, "--holmesgpt-api-url", "http://flag"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fs := flag.NewFlagSet("aianalysis", flag.ContinueOnError)
			flags := BindAIAnalysis(fs)
			if err := fs.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			got, err := flags.Load(environ(tt.env...))
			if err != nil || got.HolmesGPT.URL != tt.want {
				t.Errorf("holmesgpt.url = %q, %v, want %q", got.HolmesGPT.URL, err, tt.want)
			}
		})
	}
}

func TestContractFlags(t *testing.T) {
	fs := flag.NewFlagSet("aianalysis", flag.ContinueOnError)
	flags := BindAIAnalysis(fs)
	err := fs.Parse([]string{
		"--metrics-bind-address=:1", "--health-probe-bind-address=:2", "--leader-elect", "--holmesgpt-api-url=http://h",
		"--holmesgpt-api-timeout=7s", "--rego-policy-path=/p", "--datastorage-url=http://d", "--kubeconfig=/k", "--print-config",
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := flags.Load(environ())
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultAIAnalysis()
	want.Controller.MetricsAddr, want.Controller.HealthProbeAddr = ":1", ":2"
	want.Controller.LeaderElection, want.Controller.Kubeconfig = true, "/k"
	want.HolmesGPT.URL, want.HolmesGPT.Timeout = "http://h", 7*time.Second
	want.Rego.PolicyPath, want.DataStorage.URL = "/p", "http://d"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if !flags.PrintConfig {
		t.Error("-print-config was not noted")
	}
}

func TestFlagOfWrongTypeIsRefused(t *testing.T) {
	fs := flag.NewFlagSet("aianalysis", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	BindAIAnalysis(fs)
	err := fs.Parse([]string{"--holmesgpt-api-timeout=60"})
	if err == nil || !strings.Contains(err.Error(), `"60" is not a duration`) {
		t.Errorf("error = %v, want one that asks for a unit", err)
	}
}

func TestMissingFile(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.yaml")
	_, err := LoadAIAnalysis(missing, environ())
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "flag -config") || !strings.Contains(err.Error(), missing) {
		t.Errorf("named by flag: error = %v", err)
	}
	_, err = LoadHolmesGPTAPI("", environ("CONFIG_FILE", missing))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "CONFIG_FILE") {
		t.Errorf("named by variable: error = %v", err)
	}
	if _, err := LoadDataStorage("", environ()); err != nil {
		t.Errorf("not named: error = %v, want the defaults", err)
	}
}

func TestLargeFileIsRefused(t *testing.T) {
	_, err := LoadAIAnalysis(write(t, "config.yaml", strings.Repeat("#", maxFileBytes+1)), environ())
	if err == nil || !strings.Contains(err.Error(), "larger than 1048576 bytes") {
		t.Errorf("error = %v", err)
	}
}

func TestPrintLoadsAgain(t *testing.T) {
	t.Run("AIAnalysis", func(t *testing.T) {
		cfg := DefaultAIAnalysis()
		cfg.Controller.Namespaces = []string{"shop"}
		cfg.HolmesGPT.URL = "https://h/base"
		cfg.Rego.PolicyPath = "/a b/#c: 'd'.rego"
		roundTrip(t, cfg, LoadAIAnalysis)
	})
	t.Run("HolmesGPTAPI", func(t *testing.T) {
		cfg := DefaultHolmesGPTAPI()
		cfg.ServiceName = "true"
		cfg.LLM.SecretsFile = "0123"
		roundTrip(t, cfg, LoadHolmesGPTAPI)
	})
	t.Run("DataStorage", func(t *testing.T) {
		cfg := DefaultDataStorage()
		cfg.Database.Path = "null"
		cfg.Server.Port = 0
		roundTrip(t, cfg, LoadDataStorage)
	})
}

func roundTrip[C AIAnalysis | HolmesGPTAPI | DataStorage](t *testing.T, cfg C, load func(string, func(string) string) (C, error)) {
	t.Helper()
	var out bytes.Buffer
	if err := Print(&out, cfg); err != nil {
		t.Fatal(err)
	}
	got, err := load(write(t, "printed.yaml", out.String()), environ())
	if err != nil {
		t.Fatalf("%v\nprinted:\n%s", err, out.String())
	}
	if diff := cmp.Diff(cfg, got); diff != "" {
		t.Errorf("printed and loaded (-want +got):\n%s\nprinted:\n%s", diff, out.String())
	}
}

func TestPrintHoldsNoSecret(t *testing.T) {
	cfg := DefaultDataStorage()
	cfg.Database.Password = NewSecret("s3cr3t")
	var out bytes.Buffer
	if err := Print(&out, cfg); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "s3cr3t") {
		t.Errorf("printed:\n%s", out.String())
	}
}

func TestSecretIsNotShown(t *testing.T) {
	type holder struct{ Key Secret }
	secret := NewSecret("s3cr3t")
	h := holder{secret}
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("x", "secret", secret, "holder", h, "pointer", &h)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", secret, "holder", h)
	shown := log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown += fmt.Sprintf(verb+verb+verb, secret, h, &h)
	}
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
		b, err := marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		shown += string(b)
	}
	if strings.Contains(shown, "s3cr3t") || strings.Contains(shown, fmt.Sprintf("%x", "s3cr3t")) {
		t.Errorf("the secret is shown: %s", shown)
	}
	if !strings.Contains(shown, redacted) {
		t.Errorf("no sign that there is a secret: %s", shown)
	}
	if secret.Reveal() != "s3cr3t" || NewSecret("").String() != "" {
		t.Error("Reveal or String of an empty secret is wrong")
	}
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	Logging{Level: "warn", Format: "text"}.Logger(&out).Info("hidden")
	Logging{Level: "warn", Format: "text"}.Logger(&out).Warn("shown", "k", "v")
	if got := out.String(); strings.Contains(got, "hidden") || !strings.Contains(got, "msg=shown k=v") {
		t.Errorf("text log = %q", got)
	}
	out.Reset()
	Logging{Level: "debug", Format: "json"}.Logger(&out).Debug("shown")
	if !json.Valid(out.Bytes()) || !strings.Contains(out.String(), `"msg":"shown"`) {
		t.Errorf("JSON log = %q", out.String())
	}
}

func FuzzLoad(f *testing.F) {
	for _, seed := range []string{e2eDocument, commonSections, predecessorStorage, predecessorHAPI, "", "a: &a [*a]", "? {a: b}\n: c", "<<: 1", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, document string) {
		cfg, err := parse("f.yaml", []byte(document), environ(), DefaultAIAnalysis(), nil)
		if err == nil {
			cfg.Warnings = nil
			var out bytes.Buffer
			if err := Print(&out, cfg); err != nil {
				t.Fatal(err)
			}
			again, err := parse("f.yaml", out.Bytes(), environ(), DefaultAIAnalysis(), nil)
			if err != nil {
				t.Fatalf("what was accepted is refused after printing: %v\n%s", err, out.String())
			}
			again.Warnings = nil
			if len(cfg.Controller.Namespaces) == 0 {
				cfg.Controller.Namespaces, again.Controller.Namespaces = nil, nil
			}
			if diff := cmp.Diff(cfg, again); diff != "" {
				t.Fatalf("printed and loaded (-want +got):\n%s", diff)
			}
		}
		for _, err := range []error{err, second(parse("f.yaml", []byte(document), environ(), DefaultHolmesGPTAPI(), nil))} {
			var faults *Error
			if err != nil && (!errors.As(err, &faults) || len(faults.Faults) == 0) {
				t.Fatalf("error = %#v, want an *Error with faults", err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }
