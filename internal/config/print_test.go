package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

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
