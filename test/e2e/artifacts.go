package e2e

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Evidence dumps namespaces into a directory of its own for a specification, below E2E_ARTIFACTS, and returns
// where. It writes what it can; the error says what it could not.
func (s *System) Evidence(ctx context.Context, getenv func(string) string, spec string, namespaces ...string) (string, error) {
	root := getenv("E2E_ARTIFACTS")
	if root == "" {
		root = filepath.Join(os.TempDir(), "kubernaut-e2e-artifacts")
	}
	dir := filepath.Join(root, slug(spec))
	return dir, s.Dump(ctx, dir, namespaces...)
}

var notInFileNames = regexp.MustCompile(`[^a-z0-9]+`)

// slug is a text as the name of a file.
func slug(text string) string {
	const longest = 100
	name := strings.Trim(notInFileNames.ReplaceAllString(strings.ToLower(text), "-"), "-")
	return name[:min(len(name), longest)]
}
