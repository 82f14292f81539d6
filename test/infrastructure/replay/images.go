package replay

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func (c *call) imageDocument(s *state, ref string) map[string]any {
	i := s.image(ref)
	if i == nil {
		return nil
	}
	prefix := ""
	if c.docker() {
		prefix = "sha256:"
	}
	return map[string]any{
		"Id": prefix + i.ID, "RepoTags": i.Tags, "Created": i.Created, "Size": len(i.ID) << 14, "Config": map[string]any{"Labels": map[string]string(i.Labels)},
	}
}

// images plays what engines do with images.
func (c *call) images(verb string, args []string) (int, error) {
	o, names := interleaved(args, "filter", "format", "file", "f", "tag", "t", "label", "build-arg", "target", "output", "o", "change")
	code := 0
	err := c.world.change(func(s *state) error {
		switch verb {
		case "images":
			for _, i := range s.Images {
				if fits(i.Labels, "", "", "", o["filter"]) {
					fmt.Fprintln(c.out, i.ID)
				}
			}
		case "build":
			tag, l := o["tag"][0], parseLabels(o["label"])
			s.Images = slices.DeleteFunc(s.Images, func(i *image) bool { return slices.Contains(i.Tags, tag) })
			s.Images = append(s.Images, &image{ID: digest(configuration(tag)), Tags: []string{tag}, Labels: l, Created: time.Now()})
			fmt.Fprintf(c.out, "STEP 1/2: FROM scratch\nSTEP 2/2: COPY\nCOMMIT %s\n", tag)
		case "rmi":
			for _, name := range names {
				i := s.image(name)
				if i == nil {
					code = c.refuse(1, "Error: %s: image not known", name)
					continue
				}
				s.Images = slices.DeleteFunc(s.Images, func(o *image) bool { return o == i })
			}
		case "save":
			code = c.save(s, names[0])
		case "pull":
			s.Images = append(s.Images, &image{ID: digest(names[0]), Tags: []string{names[0]}, Labels: labels{}, Created: time.Now()})
		case "manifest inspect":
			fmt.Fprintln(c.out, "{}")
		default:
			return errUnplayed
		}
		return nil
	})
	return code, err
}

// configuration is the configuration of an image that the fake has built, whose digest is the image's id.
func configuration(tag string) string { return `{"architecture":"replay","built":"` + tag + `"}` }

// save writes a docker-archive.
func (c *call) save(s *state, ref string) int {
	i := s.image(ref)
	if i == nil {
		return c.refuse(125, "Error: %s: image not known", ref)
	}
	config := configuration(i.Tags[0])
	manifest, _ := json.Marshal([]map[string]any{{"Config": i.ID + ".json", "RepoTags": i.Tags, "Layers": []string{}}}) // strings
	w := tar.NewWriter(c.out)
	for name, content := range map[string]string{i.ID + ".json": config, "manifest.json": string(manifest)} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
			return c.refuse(125, "Error: %v", err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			return c.refuse(125, "Error: %v", err)
		}
	}
	if err := w.Close(); err != nil {
		return c.refuse(125, "Error: %v", err)
	}
	return 0
}

// toolchain plays go: it lists one small program, and builds by linking the fake.
func (c *call) toolchain() (int, error) {
	switch c.args[0] {
	case "env":
		fmt.Fprintln(c.out, "go1.26\n\n\nv1\nv8.0\noff")
		return 0, nil
	case "list":
		wd, err := os.Getwd()
		if err != nil {
			return 0, err
		}
		for _, a := range c.args {
			dir, ok := strings.CutPrefix(a, "./")
			if !ok {
				continue
			}
			const module = "kubernaut.ai/kubernaut"
			err = errors.Join(err, json.NewEncoder(c.out).Encode(map[string]any{
				"Dir": filepath.Join(wd, dir), "ImportPath": module + "/" + dir, "Module": map[string]string{"Path": module}, "GoFiles": []string{"main.go"},
			}))
		}
		return 0, err
	case "build", "test":
		o, packages := interleaved(c.args[1:], "o", "p")
		if len(o["o"]) == 0 {
			return 0, errUnplayed
		}
		to := o["o"][0]
		if !strings.HasSuffix(to, string(filepath.Separator)) {
			return 0, copySelf(to)
		}
		for _, p := range packages {
			if err := copySelf(filepath.Join(to, filepath.Base(p))); err != nil {
				return 0, err
			}
		}
		return 0, nil
	}
	return 0, errUnplayed
}

// copySelf makes this program one under another name.
func copySelf(to string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		return err
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if os.Link(self, to) == nil {
		return nil
	}
	content, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o700) //nolint:gosec // a program
}

// ginkgo plays a run of one specification that passes.
func (c *call) ginkgo() (int, error) {
	o, _ := interleaved(c.args)
	dir := o["output-dir"][0]
	report := `[{"SuiteSucceeded":true,"SpecReports":[{"LeafNodeType":"It","LeafNodeText":"works","State":"passed"}]}]`
	junit := `<testsuites><testsuite name="replay" tests="1"><testcase name="works" classname="replay" time="0"></testcase></testsuite></testsuites>`
	return 0, errors.Join(
		os.WriteFile(filepath.Join(dir, o["json-report"][0]), []byte(report), 0o600),
		os.WriteFile(filepath.Join(dir, o["junit-report"][0]), []byte(junit), 0o600),
	)
}

// iptables plays a table of rules.
func (c *call) iptables() (int, error) {
	args := slices.DeleteFunc(slices.Clone(c.args), func(a string) bool { return a == "-w" || a == "10" })
	rule := strings.Join(args[1:], " ")
	code := 0
	err := c.world.change(func(s *state) error {
		switch args[0] {
		case "-C":
			if !slices.Contains(s.Rules, rule) {
				code = c.refuse(1, "iptables: Bad rule (does a matching rule exist in that chain?).")
			}
		case "-I":
			s.Rules = append(s.Rules, strings.Replace(rule, " 1 ", " ", 1))
		case "-D":
			s.Rules = slices.DeleteFunc(s.Rules, func(r string) bool { return r == rule })
		case "-S":
			for _, r := range s.Rules {
				fmt.Fprintln(c.out, "-A "+r)
			}
		}
		return nil
	})
	return code, err
}
