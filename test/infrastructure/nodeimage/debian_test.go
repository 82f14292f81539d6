package nodeimage

import (
	"testing"
	"testing/fstest"
)

func TestAptMirror(t *testing.T) {
	const deb822 = `# a comment
Types: deb
URIs: http://one.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main
`
	for name, test := range map[string]struct {
		files map[string]string
		want  string
	}{
		"none":           {nil, ""},
		"paragraphs":     {map[string]string{"sources.list.d/debian.sources": deb822}, "http://one.example/debian"},
		"lines":          {map[string]string{"sources.list": "# deb http://no.example/ bookworm main\ndeb [arch=amd64 signed-by=/k] http://two.example/debian bookworm main contrib\n"}, "http://two.example/debian"},
		"other suite":    {map[string]string{"sources.list.d/a.list": "deb http://three.example/debian/ trixie main\n"}, "http://three.example/debian/"},
		"suite first":    {map[string]string{"sources.list": "deb http://three.example/debian trixie main\n", "sources.list.d/debian.sources": deb822}, "http://one.example/debian"},
		"other archive":  {map[string]string{"sources.list": "deb http://archive.example/ubuntu noble main universe\n"}, ""},
		"no main":        {map[string]string{"sources.list": "deb http://four.example/debian bookworm contrib\n"}, ""},
		"source only":    {map[string]string{"sources.list": "deb-src http://four.example/debian bookworm main\n"}, ""},
		"disabled":       {map[string]string{"sources.list.d/x.sources": "Enabled: no\n" + deb822[len("# a comment\n"):]}, ""},
		"continued line": {map[string]string{"sources.list.d/x.sources": "Types: deb\nURIs:\n http://five.example/debian\nSuites:\n bookworm\nComponents: main\n"}, "http://five.example/debian"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := make(fstest.MapFS)
			for file, content := range test.files {
				fsys[file] = &fstest.MapFile{Data: []byte(content)}
			}
			got, err := aptMirror(fsys, "bookworm")
			if err != nil || got != test.want {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}
