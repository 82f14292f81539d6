package deploy_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"kubernaut.ai/kubernaut/test/infrastructure/manifest"
)

// permission is one verb on one resource, in all namespaces when namespace is empty.
type permission struct {
	namespace, group, resource, verb string
}

// TestPermissionsAreThoseTheCodeAsksFor compares each service's roles with the +kubebuilder:rbac
// markers beside the code that needs them: neither more nor less.
func TestPermissionsAreThoseTheCodeAsksFor(t *testing.T) {
	services := map[string][]string{ // ServiceAccount → packages with markers
		"aianalysis-controller": {"../internal/controller"},
		"holmesgpt-api":         {"../internal/observe"},
	}
	s := render(t, "base")
	for account, dirs := range services {
		asked := markers(t, dirs)
		granted := permissionsOf(s, account)
		for _, p := range asked {
			if !slices.Contains(granted, p) && !slices.Contains(granted, permission{"", p.group, p.resource, p.verb}) {
				t.Errorf("%s: the code asks for %+v, the manifests do not grant it", account, p)
			}
		}
		for _, p := range granted {
			if !slices.Contains(asked, p) {
				t.Errorf("%s: the manifests grant %+v, no marker asks for it", account, p)
			}
		}
	}
	if got := permissionsOf(s, "datastorage"); len(got) > 0 {
		t.Errorf("datastorage talks to no API server and has permissions: %v", got)
	}
	sa, ok := manifest.Named[*corev1.ServiceAccount](s.Set, "kubernaut-system", "datastorage")
	if !ok || !isFalse(sa.AutomountServiceAccountToken) {
		t.Error("ServiceAccount datastorage mounts a token that it does not need")
	}
}

// TestNoSecretIsReadable holds for every role, whatever the markers say.
func TestNoSecretIsReadable(t *testing.T) {
	eachRendering(t, func(s *set) {
		forbidden := func(name string, rules []rbacv1.PolicyRule) {
			for _, r := range rules {
				if slices.Contains(r.Resources, "secrets") || slices.Contains(r.Resources, "*") || slices.Contains(r.Verbs, "*") {
					s.t.Errorf("role %s: %+v", name, r)
				}
			}
		}
		for _, r := range manifest.Of[*rbacv1.ClusterRole](s.Set) {
			forbidden(r.Name, r.Rules)
		}
		for _, r := range manifest.Of[*rbacv1.Role](s.Set) {
			forbidden(r.Name, r.Rules)
		}
	})
}

var marker = regexp.MustCompile(`(?m)^\s*//\s*\+kubebuilder:rbac:(.*)$`)

// markers returns what the markers in Go files of the given directories ask for.
func markers(t *testing.T, dirs []string) []permission {
	t.Helper()
	var asked []permission
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range marker.FindAllStringSubmatch(string(text), -1) {
				fields := map[string][]string{}
				for f := range strings.SplitSeq(strings.TrimSpace(m[1]), ",") {
					key, value, _ := strings.Cut(f, "=")
					fields[key] = strings.Split(strings.Trim(value, `"`), ";")
				}
				asked = append(asked, expand(fields)...)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(asked) == 0 {
		t.Fatalf("no +kubebuilder:rbac marker in %v", dirs)
	}
	return asked
}

func expand(fields map[string][]string) []permission {
	namespace := strings.Join(fields["namespace"], "")
	var list []permission
	for _, g := range fields["groups"] {
		for _, r := range fields["resources"] {
			for _, v := range fields["verbs"] {
				list = append(list, permission{namespace, strings.Trim(g, `"`), r, v})
			}
		}
	}
	return list
}

// permissionsOf returns what a ServiceAccount of kubernaut-system may do.
func permissionsOf(s *set, account string) []permission {
	var list []permission
	bound := func(subjects []rbacv1.Subject) bool {
		return slices.ContainsFunc(subjects, func(sub rbacv1.Subject) bool {
			return sub.Kind == "ServiceAccount" && sub.Name == account && sub.Namespace == "kubernaut-system"
		})
	}
	add := func(namespace string, rules []rbacv1.PolicyRule) {
		for _, r := range rules {
			list = append(list, expand(map[string][]string{"namespace": {namespace}, "groups": r.APIGroups, "resources": r.Resources, "verbs": r.Verbs})...)
		}
	}
	for _, b := range manifest.Of[*rbacv1.ClusterRoleBinding](s.Set) {
		if role, ok := manifest.Named[*rbacv1.ClusterRole](s.Set, "", b.RoleRef.Name); ok && bound(b.Subjects) {
			add("", role.Rules)
		}
	}
	for _, b := range manifest.Of[*rbacv1.RoleBinding](s.Set) {
		if role, ok := manifest.Named[*rbacv1.Role](s.Set, b.Namespace, b.RoleRef.Name); ok && bound(b.Subjects) {
			add(b.Namespace, role.Rules)
		}
	}
	return list
}
