package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

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
			document: "controller:\n  metrics_addr: \":8081\"\n  leader_election_id: \"\"\n  namespaces:\n  - shop\n  - Shop\n  leader_election_lease: 1s\nholmesgpt:\n  url: ftp://x\n  retry: {max_attempts: 0, base: 1h, max: 1m}\nlogging: {level: loud}\nreview: {confidence_threshold: 1.5}\n",
			want: []string{
				`FILE:2: controller.metrics_addr: has the same port as controller.health_probe_addr (8081); give each its own`,
				`FILE:3: controller.leader_election_id: is required and must not be empty`,
				`FILE:4: controller.namespaces[1]: "Shop" is not a namespace name: lower-case letters, digits and dashes, at most 63`,
				`FILE:7: controller.leader_election_lease: 1s is not between 3s and 5m0s`,
				`FILE:9: holmesgpt.url: "ftp://x" is not an http or https URL with a host, for example "http://datastorage:8080"`,
				`FILE:10: holmesgpt.retry.max_attempts: 0 is not between 1 and 100`,
				`FILE:10: holmesgpt.retry.max: 1m0s is not between 1h0m0s and 24h0m0s`,
				`FILE:11: logging.level: "loud" is not one of "debug", "info", "warn", "error"`,
				`FILE:12: review.confidence_threshold: 1.5 is not between 0 and 1`,
			},
		},
		{
			name: "URLs", load: hapi, document: "llm: {provider: gpt, endpoint: 'http://x/?k=v'}\ndata_storage: {url: 'http://u:p@x'}\n",
			want: []string{
				`FILE:1: llm.provider: "gpt" is not one of "", "mock", "openai", "azure", "anthropic", "ollama", "google", "vertex_ai"`,
				`FILE:1: llm.endpoint: "http://x/?k=v" must end with its path: no query and no fragment`,
				`FILE:2: data_storage.url: must not hold a user or a password`,
			},
		},
		{
			name: "none is no number of log lines", load: hapi, document: "observe: {max_log_lines: 0}\n",
			want: []string{`FILE:1: observe.max_log_lines: 0 is not between 1 and 100000`},
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
