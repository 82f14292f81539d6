package observe

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"kubernaut.ai/kubernaut/internal/diagnose"
)

func TestRedactText(t *testing.T) {
	jwt := "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
	for _, tt := range []struct{ name, in, want string }{
		{"JSON Web Token", "got " + jwt + " from x", "got [redacted:1] from x"},
		{"bearer", "Authorization: Bearer abcDEF123456789xyz", "Authorization: Bearer [redacted:1]"},
		{"AWS key", "key AKIAIOSFODNN7EXAMPLE used", "key [redacted:1] used"},
		{"URL", "dial postgres://app:s3cr3tPw@db:5432/x failed", "dial postgres://app:[redacted:1]@db:5432/x failed"},
		{"redis URL without user", "redis://:p4ssw0rd@cache:6379", "redis://:[redacted:1]@cache:6379"},
		{"password=", `host=db password=hunter2 user=app`, `host=db password=[redacted:1] user=app`},
		{"password in JSON", `{"user":"a","password":"hunter2!"}`, `{"user":"a","password":"[redacted:1]"}`},
		{"password in escaped JSON", `{\"password\":\"hunter2!\"}`, `{\"password\":\"[redacted:1]\"}`},
		{"DB_PASSWORD=", "DB_PASSWORD=hunter2", "DB_PASSWORD=[redacted:1]"},
		{"api key in a query", "GET /v1?api_key=Zx81abc&x=1", "GET /v1?api_key=[redacted:1]&x=1"},
		{"client_secret", "client_secret: abc123def456", "client_secret: [redacted:1]"},
		{"aws secret", "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws_secret_access_key = [redacted:1]"},
		{"connection string", "Server=db;Password=abc%12;Timeout=3", "Server=db;Password=[redacted:1];Timeout=3"},
		{"GitHub token", "push with ghp_0123456789abcdefABCDEF0123456789abcd", "push with [redacted:1]"},
		{"OpenAI-like key", "key sk-proj-Ab12Cd34Ef56Gh78Ij90Kl", "key [redacted:1]"},
		{"the same twice", "password=aaa111 then password=aaa111 then password=bbb222", "password=[redacted:1] then password=[redacted:1] then password=[redacted:2]"},
		{"private key on one line", `x -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- y`, `x -----BEGIN RSA PRIVATE KEY-----[redacted:1]-----END RSA PRIVATE KEY----- y`},
		{"private key", "a\n-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\nIBK3\n-----END EC PRIVATE KEY-----\nb", "a\n-----BEGIN EC PRIVATE KEY-----\n[redacted:1]\n[redacted:2]\n-----END EC PRIVATE KEY-----\nb"},

		{"certificate stays", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"},
		{"Kubernetes names stay", "task-worker-7c9d disk-pressure flask-frontend mask-api-5f7d9c6b8-x2k4q", "task-worker-7c9d disk-pressure flask-frontend mask-api-5f7d9c6b8-x2k4q"},
		{"sk- at the start of a name stays", "sk-frontend-worker-checkout", "sk-frontend-worker-checkout"},
		{"kubelet: missing Secret", `secret "db-token" not found`, `secret "db-token" not found`},
		{"kubelet: missing key", "couldn't find key api-token in Secret shop/db", "couldn't find key api-token in Secret shop/db"},
		{"kubelet: volume key", "references non-existent secret key: token", "references non-existent secret key: token"},
		{"kubelet: back-off", `Back-off pulling image "ghcr.io/acme/vault-token:1.2.3"`, `Back-off pulling image "ghcr.io/acme/vault-token:1.2.3"`},
		{"API server: service account", `serviceaccount "token-reviewer" not found`, `serviceaccount "token-reviewer" not found`},
		{"registry", "failed to fetch anonymous token: unexpected status from GET request: 401 Unauthorized", "failed to fetch anonymous token: unexpected status from GET request: 401 Unauthorized"},
		{"prose", "basic authentication failed, invalid token: expired", "basic authentication failed, invalid token: expired"},
		{"a URL without credentials", "http://10.0.0.1:8080/healthz: connect: connection refused", "http://10.0.0.1:8080/healthz: connect: connection refused"},
		{"digest", "nginx@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "nginx@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
		{"reference in place of a value", "password=$(DB_PASSWORD)", "password=$(DB_PASSWORD)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r Redactor
			if got := r.Text(tt.in); got != tt.want {
				t.Errorf("Text(%q)\n got %q\nwant %q", tt.in, got, tt.want)
			}
			again := r.Text(tt.want)
			if again != tt.want {
				t.Errorf("redacting again changes %q to %q", tt.want, again)
			}
		})
	}
}

func TestSecretName(t *testing.T) {
	for name, want := range map[string]bool{
		"DB_PASSWORD": true, "password": true, "API_KEY": true, "apiKey": true, "AUTH_TOKEN": true, "CLIENT_SECRET": true, "GOOGLE_CREDENTIALS": true, "db.password": true,
		"KEYCLOAK_URL": false, "MONKEY": false, "PASSWORD_FILE": false, "SECRET_NAME": false, "TOKEN_TTL": false, "COMPASS": false, "MODE": false, "AUTHOR": false, "": false,
	} {
		if got := secretName(name); got != want {
			t.Errorf("secretName(%q) = %v, want %v", name, got, want)
		}
	}
}

// No planted secret survives, wherever and in whatever form it is planted.
func TestNoPlantedSecretSurvives(t *testing.T) {
	alnum := rapid.StringMatching(`[A-Za-z0-9]{12,40}`)
	forms := []func(secret string) string{
		func(s string) string { return "password=" + s },
		func(s string) string { return `{"token":"` + s + `"}` },
		func(s string) string { return "API_KEY: " + s },
		func(s string) string { return "postgres://u:" + s + "@db/x" },
		func(s string) string { return "https://user:" + s + "@registry.example.com/v2/" },
		func(s string) string { return "CLIENT_SECRET='" + s + "'" },
		func(s string) string { return "key ghp_" + s + "abcdefghijklmnopqrst" },
		func(s string) string { return "Authorization: Bearer 0" + s },
		func(s string) string { return "-----BEGIN PRIVATE KEY-----\n" + s + "\n-----END PRIVATE KEY-----" },
		func(s string) string { return "eyJhbGciOiJ9." + s + "." + s },
	}
	rapid.Check(t, func(t *rapid.T) {
		secret := alnum.Draw(t, "secret")
		form := rapid.IntRange(0, len(forms)-1).Draw(t, "form")
		if w := strings.ToLower(secret); !notPlain(secret) || w == secret && form == 7 {
			return
		}
		before := rapid.StringMatching(`[ -~]{0,30}[ ,;]`).Draw(t, "before")
		if strings.Contains(before, "-----") || strings.Contains(before, "://") {
			return
		}
		text := before + forms[form](secret) + rapid.StringMatching(`( [ -~]{0,30})?`).Draw(t, "after")
		var r Redactor
		if got := r.Text(text); strings.Contains(got, secret) {
			t.Fatalf("%q survives in %q (from %q)", secret, got, text)
		}
		if r.Count() == 0 {
			t.Fatalf("no redaction was counted in %q", text)
		}
	})
}

// Names of Kubernetes objects, labels, quantities and images are never touched. What follows a name
// that reads like a header ("x-auth-token: ") may be a secret, and counts as one.
func TestOrdinaryNamesSurvive(t *testing.T) {
	word := rapid.SampledFrom([]string{"task", "disk", "flask", "mask", "token", "secret", "web", "worker", "key", "password", "auth", "api", "pressure", "sk", "basic", "bearer"})
	rapid.Check(t, func(t *rapid.T) {
		name := strings.Join(rapid.SliceOfN(word, 1, 4).Draw(t, "words"), "-") + rapid.StringMatching(`(-[bcdfghjklmnpqrstvwxz2456789]{8,10}-[bcdfghjklmnpqrstvwxz2456789]{5})?`).Draw(t, "suffix")
		header := regexp.MustCompile(`(token|secret|password|api-key)$`).MatchString(name)
		text := fmt.Sprintf(rapid.SampledFrom([]string{
			"Pod shop/%s is not ready", `configmap "%s" not found`, "Created pod: %s", `Back-off pulling image "registry.example.com/shop/%s:v1"`, "%s: FailedMount", "couldn't find key k in Secret shop/%s",
			"Scaled up replica set %s from 0 to 3", "node %s had untolerated taint",
		}).Draw(t, "message"), name)
		want := text
		if header {
			want = strings.Replace(text, ": FailedMount", ": [redacted:1]", 1)
		}
		var r Redactor
		if got := r.Text(text); got != want {
			t.Fatalf("Text(%q) = %q", text, got)
		}
	})
}

func FuzzRedact(f *testing.F) {
	f.Add("password=hunter2 x")
	f.Add("-----BEGIN PRIVATE KEY-----\nabc")
	f.Add("https://a:b@c://d:e@f")
	f.Fuzz(func(t *testing.T, text string) {
		var r Redactor
		once := r.Text(text)
		if r.Count() == 0 && once != text {
			t.Errorf("the text was changed without a redaction: %q to %q", text, once)
		}
	})
}

func TestScrubObject(t *testing.T) {
	tree := map[string]any{
		"kind": "Pod",
		"metadata": map[string]any{
			"name": "api-token-7c9d", "labels": map[string]any{"token": "password=not-a-secret-label"}, "managedFields": []any{map[string]any{
				"manager": "kubectl-edit", "time": "2026-11-20T10:00:00Z", "fieldsV1": map[string]any{"f:spec": map[string]any{"f:containers": map[string]any{}}},
			}},
			"annotations": map[string]any{lastApplied: `{"kind":"Pod","spec":{"containers":[{"env":[{"name":"DB_PASSWORD","value":"correct-horse"},{"name":"MODE","value":"slow"}]}]}}`, "example.com/webhook-token": "tok-1234567", "note": "password=hunter22"},
		},
		"spec": map[string]any{"containers": []any{map[string]any{
			"env":  []any{map[string]any{"name": "DB_PASSWORD", "value": "correct-horse"}, map[string]any{"name": "MODE", "value": "fast"}, map[string]any{"name": "API_KEY", "value": "$(OTHER)"}},
			"args": []any{"--dsn=correct-horse"},
		}}},
	}
	snap := seal(diagnose.Contents{}, []item{{tree: tree}}, nil)
	o := snap.Contents().Objects[0]
	for path, want := range map[string]string{
		"name":   o.Ref().Name,
		"label":  o.At("metadata", "labels", "token").Str(),
		"webtok": o.At("metadata", "annotations", "example.com/webhook-token").Str(),
		"note":   o.At("metadata", "annotations", "note").Str(),
		"env":    o.At("spec", "containers").Items()[0].At("env").Items()[0].At("value").Str(),
		"mode":   o.At("spec", "containers").Items()[0].At("env").Items()[1].At("value").Str(),
		"ref":    o.At("spec", "containers").Items()[0].At("env").Items()[2].At("value").Str(),
		"args":   o.At("spec", "containers").Items()[0].At("args").Text(),
	} {
		expected := map[string]string{
			"name": "api-token-7c9d", "label": "password=not-a-secret-label", "webtok": "[redacted:1]", "note": "password=[redacted:3]",
			"env": "[redacted:2]", "mode": "fast", "ref": "$(OTHER)", "args": `["--dsn=[redacted:2]"]`,
		}[path]
		if want != expected {
			t.Errorf("%s = %q, want %q", path, want, expected)
		}
	}
	if got := o.At("metadata", "managedFields").Text(); got != `[{"fieldsV1":{"f:spec":{}},"manager":"kubectl-edit","time":"2026-11-20T10:00:00Z"}]` {
		t.Errorf("managedFields = %s", got)
	}
	if got := o.At("metadata", "annotations", lastApplied).Str(); !strings.Contains(got, "slow") || strings.Contains(got, "correct-horse") {
		t.Errorf("last applied = %s", got)
	}
}

func BenchmarkRedact(b *testing.B) {
	lines := []string{
		`2026-11-20T12:00:00Z INFO server listening on :8080 version=1.4.0 region=eu-1`,
		`{"level":"info","ts":1763640000.1,"msg":"request","method":"GET","path":"/orders/1234","status":200,"duration":"3ms"}`,
		`E1120 12:00:00.000000       1 reflector.go:200] failed to list *v1.Pod: connection refused`,
		`connecting to postgres://app:s3cr3tPw@db:5432/orders`,
	}
	var text strings.Builder
	for i := range 10_000 {
		if i%100 == 0 {
			text.WriteString(lines[3])
		} else {
			text.WriteString(lines[i%3])
		}
		text.WriteByte('\n')
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		var r Redactor
		r.Text(text.String())
	}
}
