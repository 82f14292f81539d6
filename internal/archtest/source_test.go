package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	maxFileLines = 500
	maxMainLines = 60
)

// sourceFile is a Go file of the repository that a person has written.
type sourceFile struct {
	path  string // from the repository's root
	lines int
	ast   *ast.File
}

func (f *sourceFile) test() bool { return strings.HasSuffix(f.path, "_test.go") }

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// sources reads the Go files of the repository, nested modules included, by directory.
func sources(t *testing.T) (*token.FileSet, map[string][]*sourceFile) {
	t.Helper()
	root := filepath.Join("..", "..")
	fset := token.NewFileSet()
	dirs := make(map[string][]*sourceFile)
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if name := e.Name(); path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if generated.Match(content) {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(fset, rel, content, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := filepath.Dir(rel)
		dirs[dir] = append(dirs[dir], &sourceFile{path: filepath.ToSlash(rel), lines: bytes.Count(content, []byte("\n")), ast: file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fset, dirs
}

func TestSources(t *testing.T) {
	fset, dirs := sources(t)
	t.Run("files are short", func(t *testing.T) { checkLength(t, dirs) })
	t.Run("names say what", func(t *testing.T) { checkNames(t, fset, dirs) })
	t.Run("nothing runs at import", func(t *testing.T) { checkInit(t, fset, dirs) })
	t.Run("tests do not sleep", func(t *testing.T) { checkSleep(t, fset, dirs) })
	t.Run("no global state", func(t *testing.T) { checkGlobals(t, fset, dirs) })
}

func checkLength(t *testing.T, dirs map[string][]*sourceFile) {
	for dir, files := range dirs {
		var mainLines int
		for _, f := range files {
			if f.lines > maxFileLines {
				t.Errorf("%s has %d lines: a file of more than %d is usually two things in one", f.path, f.lines, maxFileLines)
			}
			if !f.test() && f.ast.Name.Name == "main" {
				mainLines += f.lines
			}
		}
		if mainLines > maxMainLines && !strings.HasPrefix(filepath.ToSlash(dir), "test/") { // those are tests themselves
			t.Errorf("%s: package main has %d lines, more than %d: it does signals, flags, one call and the exit code; the rest belongs where a test can call it", dir, mainLines, maxMainLines)
		}
	}
}

func checkNames(t *testing.T, fset *token.FileSet, dirs map[string][]*sourceFile) {
	places := []string{"util", "utils", "common", "helper", "helpers", "shared", "misc", "lib"}
	suffixes := []string{"Manager", "Impl", "Interface"}
	for _, files := range dirs {
		for _, f := range files {
			if slices.Contains(places, strings.TrimSuffix(f.ast.Name.Name, "_test")) {
				t.Errorf("%s: package %s says where code was put, not what it does", f.path, f.ast.Name.Name)
			}
			for _, d := range f.ast.Decls {
				decl, ok := d.(*ast.GenDecl)
				if !ok || decl.Tok != token.TYPE {
					continue
				}
				for _, s := range decl.Specs {
					name := s.(*ast.TypeSpec).Name
					if slices.ContainsFunc(suffixes, func(suffix string) bool { return name.Name != suffix && strings.HasSuffix(name.Name, suffix) }) {
						t.Errorf("%s: type %s: the suffix says nothing; name it for what it does", fset.Position(name.Pos()), name.Name)
					}
				}
			}
		}
	}
}

func checkInit(t *testing.T, fset *token.FileSet, dirs map[string][]*sourceFile) {
	for _, files := range dirs {
		for _, f := range files {
			for _, d := range f.ast.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s: func init runs for everyone who imports the package; do it where it is needed, by a call", fset.Position(fn.Pos()))
				}
			}
		}
	}
}

func checkSleep(t *testing.T, fset *token.FileSet, dirs map[string][]*sourceFile) {
	for _, files := range dirs {
		for _, f := range files {
			if !f.test() {
				continue
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
					if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" && !usesSynctest(f.ast) {
						t.Errorf("%s: a test that sleeps is slow or flaky, often both; wait on a condition, or use testing/synctest", fset.Position(n.Pos()))
					}
				}
				return true
			})
		}
	}
}

// usesSynctest reports whether a test file has the clock in its hand; there a sleep takes no time.
func usesSynctest(f *ast.File) bool {
	return slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"testing/synctest"` })
}

// stateful are the packages that keep something for the whole process, and why they must.
var stateful = map[string]string{
	"internal/controlplane/controlplanetest": "one API server for all tests of a binary",
	"internal/pgtest":                        "one database server for all tests of a binary",
}

// checkGlobals finds package-level variables that change: those without a value, those that are assigned to, and
// those whose address is taken. Tables, compiled expressions and errors that stay as they are declared are constants
// that the language cannot write.
func checkGlobals(t *testing.T, fset *token.FileSet, dirs map[string][]*sourceFile) {
	for dir, all := range dirs {
		if _, ok := stateful[filepath.ToSlash(dir)]; ok {
			continue
		}
		var files []*ast.File
		for _, f := range all {
			if !f.test() {
				files = append(files, f.ast)
			}
		}
		for _, v := range changing(fset, files) {
			t.Errorf("%s: package-level variable %s %s: pass it in, so that two of them can live in one process", fset.Position(v.pos), v.name, v.how)
		}
	}
}

type change struct {
	name, how string
	pos       token.Pos
}

// changing returns the package-level variables of a package's files that change. It resolves names by the type checker,
// whose complaints about imports, which are not loaded, do not matter here.
func changing(fset *token.FileSet, files []*ast.File) []change {
	info := &types.Info{Defs: make(map[*ast.Ident]types.Object), Uses: make(map[*ast.Ident]types.Object)}
	conf := types.Config{Importer: noImports{}, Error: func(error) {}, FakeImportC: true}
	pkg, _ := conf.Check("p", fset, files, info)

	var found []change
	for _, f := range files {
		for _, d := range f.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.VAR {
				continue
			}
			for _, s := range decl.Specs {
				spec := s.(*ast.ValueSpec)
				linked := f.Name.Name == "main" && spec.Names[0].Name == "version" // set by the linker
				if len(spec.Values) == 0 && !linked && !embedded(decl.Doc) && !embedded(spec.Doc) {
					found = append(found, change{spec.Names[0].Name, "has no value", spec.Pos()})
				}
			}
		}
		report := func(e ast.Expr, how string) {
			id := root(e)
			if id == nil {
				return
			}
			if v, ok := info.Uses[id].(*types.Var); ok && v.Parent() == pkg.Scope() {
				found = append(found, change{id.Name, how, id.Pos()})
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, e := range n.Lhs {
					report(e, "is assigned to")
				}
			case *ast.IncDecStmt:
				report(n.X, "is counted")
			case *ast.UnaryExpr:
				if id, ok := n.X.(*ast.Ident); ok && n.Op == token.AND { // that of an element is taken to read it, mostly
					report(id, "has its address taken")
				}
			}
			return true
		})
	}
	return found
}

// root returns the variable at the bottom of x, x.f, x[i] and *x.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

func embedded(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// noImports makes every import an empty package.
type noImports struct{}

func (noImports) Import(path string) (*types.Package, error) {
	pkg := types.NewPackage(path, filepath.Base(path))
	pkg.MarkComplete()
	return pkg, nil
}

func TestChanging(t *testing.T) {
	const source = `package p
import "regexp"
var table = map[string]int{"a": 1}
var expr = regexp.MustCompile("x")
var _ = table
var unset int
//go:embed file
var file []byte
var counter, set, address, entry, field = 0, 0, 0, map[string]int{}, struct{ n int }{}
func f() {
	table := map[string]int{} // another one
	table["b"] = 2
	counter++
	set = 1
	_ = &address
	entry["x"] = 1
	field.n = 1
	_, _, _ = table, expr, file
}
`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range changing(fset, []*ast.File{f}) {
		got = append(got, c.name)
	}
	slices.Sort(got)
	if want := []string{"address", "counter", "entry", "field", "set", "unset"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
