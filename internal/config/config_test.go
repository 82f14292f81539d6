package config

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
	for _, service := range []service{&AIAnalysis{}, &HolmesGPTAPI{}, &DataStorage{}} {
		def, root := service.definition(), reflect.ValueOf(service).Elem()
		keys := slices.Collect(maps.Values(def.aliases))
		for _, o := range def.overrides {
			keys = append(keys, o.key)
		}
		for _, key := range keys {
			func() {
				defer func() {
					if problem := recover(); problem != nil {
						t.Errorf("%T: %v", service, problem)
					}
				}()
				fieldAt(root, key)
			}()
		}
	}
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
	want.LLM.Provider, want.LLM.Name, want.LLM.Endpoint = "mock", "mock/test-model", "http://localhost:11434"
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

// TestZapFlags: manifests that were written for a controller with zap's flags still start this one.
func TestZapFlags(t *testing.T) {
	const noEffect = "accepted, and has no effect: logging.level and logging.format say all that can be said about the log"
	tests := []struct {
		name          string
		args          []string
		level, format string
		warnings      []string
		wrong         bool
	}{
		{name: "named level", args: []string{"--zap-log-level=debug"}, level: "debug", format: "json"},
		{name: "level in capitals", args: []string{"--zap-log-level", "ERROR"}, level: "error", format: "json"},
		{name: "numbered level", args: []string{"--zap-log-level=3"}, level: "debug", format: "json"},
		{name: "level above ours", args: []string{"--zap-log-level=panic"}, level: "error", format: "json"},
		{name: "no level", args: []string{"--zap-log-level=loud"}, wrong: true},
		{name: "console", args: []string{"--zap-encoder=console"}, level: "info", format: "text"},
		{
			name: "without effect", args: []string{"--zap-devel", "--zap-stacktrace-level=error", "--zap-time-encoding=iso8601"},
			level: "info", format: "json",
			warnings: []string{"flag -zap-devel: " + noEffect, "flag -zap-stacktrace-level: " + noEffect, "flag -zap-time-encoding: " + noEffect},
		},
		{name: "switched off", args: []string{"--zap-devel=false"}, level: "info", format: "json", warnings: []string{"flag -zap-devel: " + noEffect}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fs := flag.NewFlagSet("aianalysis", flag.ContinueOnError)
			flags := BindAIAnalysis(fs)
			if err := fs.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			got, err := flags.Load(environ())
			if (err != nil) != tt.wrong {
				t.Fatalf("error %v, want one: %v", err, tt.wrong)
			}
			if got.Logging != (Logging{Level: tt.level, Format: tt.format}) || !slices.Equal(got.Warnings, tt.warnings) {
				t.Errorf("logging %+v, warnings %q; want %s, %s, %q", got.Logging, got.Warnings, tt.level, tt.format, tt.warnings)
			}
		})
	}
}
