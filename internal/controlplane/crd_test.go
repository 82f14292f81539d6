package controlplane

import (
	"strings"
	"testing"
)

const widgetCRD = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
`

func TestDecodeCRDs(t *testing.T) {
	for _, row := range []struct {
		name, manifest string
		want           int
		wantErr        string
	}{
		{"one", widgetCRD, 1, ""},
		{"two, and comments", "# first\n---\n" + widgetCRD + "---\n# nothing\n---\n" + widgetCRD, 2, ""},
		{"empty", "", 0, "empty"},
		{"comments only", "# nothing\n", 0, "empty"},
		{"not YAML", "{", 0, "read the manifest"},
		{"not an object", "- a\n", 0, "read the manifest"},
		{"another kind", widgetCRD + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\n", 0, `v1 Secret "s"`},
		{"older version", strings.Replace(widgetCRD, "/v1", "/v1beta1", 1), 0, "v1beta1"},
		{"no name", "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n", 0, "named"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := decodeCRDs([]byte(row.manifest))
			switch {
			case row.wantErr == "" && err != nil:
				t.Fatal(err)
			case row.wantErr != "" && (err == nil || !strings.Contains(err.Error(), row.wantErr)):
				t.Fatalf("got %v, want an error with %q", err, row.wantErr)
			case len(got) != row.want:
				t.Errorf("got %d definitions, want %d", len(got), row.want)
			}
		})
	}
}
