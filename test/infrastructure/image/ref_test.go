package image

import (
	"errors"
	"strings"
	"testing"

	"kubernaut.ai/kubernaut/test/infrastructure/failure"
)

func TestParseRef(t *testing.T) {
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, row := range []struct{ name, in, want string }{
		{"as it is", "localhost/kubernaut-aianalysis:0123456789ab", "localhost/kubernaut-aianalysis:0123456789ab"},
		{"prefix twice", "localhost/localhost/kubernaut-datastorage:v1", "localhost/kubernaut-datastorage:v1"},
		{"prefix three times", "localhost/localhost/localhost/x:v1", "localhost/x:v1"},
		{"prefix stripped", "kubernaut-holmesgpt-api:v1", "localhost/kubernaut-holmesgpt-api:v1"},
		{"no tag", "kubernaut-e2e-node", "localhost/kubernaut-e2e-node"},
		{"official", "postgres:17.6", "docker.io/library/postgres:17.6"},
		{"a user's", "grafana/loki:3", "docker.io/grafana/loki:3"},
		{"another registry", "quay.io/a/b/c:1", "quay.io/a/b/c:1"},
		{"registry with a port", "localhost:5000/x:1", "localhost:5000/x:1"},
		{"port and no tag", "127.0.0.1:5000/x", "127.0.0.1:5000/x"},
		{"digest", "kindest/node@" + digest, "docker.io/kindest/node@" + digest},
		{"tag and digest", "kindest/node:v1.34.0@" + digest, "docker.io/kindest/node:v1.34.0@" + digest},
		{"ours elsewhere", "ghcr.io/x/kubernaut-aianalysis:1", "ghcr.io/x/kubernaut-aianalysis:1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := ParseRef(row.in)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != row.want {
				t.Fatalf("ParseRef(%q): got %s, want %s", row.in, got, row.want)
			}
			if again, err := ParseRef(got.String()); err != nil || again != got {
				t.Errorf("ParseRef(%q): got %v, %v, want itself", got, again, err)
			}
		})
	}
}

func TestParseRefRefuses(t *testing.T) {
	for _, row := range []struct{ name, in, want string }{
		{"empty", "", "no name"},
		{"tag alone", ":v1", "no name"},
		{"slash in the tag", "localhost/kubernaut-aianalysis:feature/x", "slash"},
		{"slash in the tag of a stripped name", "kubernaut-aianalysis:feature/x", "slash"},
		{"two tags", "localhost/x:a:b", "slash"},
		{"empty tag", "localhost/x:", "tag"},
		{"upper case", "localhost/Kubernaut:v1", "lower-case"},
		{"space", "localhost/x y:v1", "lower-case"},
		{"empty part", "localhost//x:v1", "part of a name"},
		{"short digest", "localhost/x@sha256:0123", "digest"},
		{"long tag", "localhost/x:" + strings.Repeat("a", 129), "tag"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := ParseRef(row.in)
			var typed failure.Typed
			if !errors.As(err, &typed) || typed.Finding().Class != failure.Permanent || !strings.Contains(err.Error(), row.want) {
				t.Errorf("ParseRef(%q): got %v, %v, want a permanent failure with %q", row.in, got, err, row.want)
			}
		})
	}
}

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"localhost/localhost/x:v1", "a/b@sha256:x", "x:5000/y:1", "kubernaut-x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRef(s)
		if err != nil {
			return
		}
		if again, err := ParseRef(r.String()); err != nil || again != r {
			t.Errorf("ParseRef(%q) = %q, which reads as %q, %v", s, r, again, err)
		}
	})
}
