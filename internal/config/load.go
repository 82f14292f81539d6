// Package config reads the configuration files of the services.
//
// A file is one YAML document, and it is read strictly: a key that is unknown, repeated or written
// in the wrong case is a fault, and all faults are reported at once, each with its file, line and
// key. Values come, in rising order of precedence, from the built-in defaults, the file, environment
// variables and flags. Durations are Go duration strings such as "60s".
//
// A loaded configuration is a plain value: complete, valid and safe to share between goroutines
// that only read it. Nothing here keeps state.
package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a configuration file and a secrets file. A ConfigMap holds at most 1 MiB.
const maxFileBytes = 1 << 20

// service is what the three configurations have in common for loading.
type service interface {
	// definition returns the tables of the service. It does not depend on the values.
	definition() definition
	// finish derives values that depend on others and reads secrets; it may add faults.
	finish(r *report, env func(string) string)
	// check adds every fault of the values.
	check(r *report)
	setWarnings([]string)
}

// definition is how a service's configuration is found and overridden.
type definition struct {
	defaultPath string
	pathEnv     []string // environment variables that name the file; the first that is set counts
	aliases     map[string]string
	ignored     map[string]string
	overrides   []override
	// ignoredFlags are accepted and have no effect.
	ignoredFlags []ignoredFlag
}

// override is an environment variable, a flag, or both, that set one key.
type override struct {
	key   string
	env   string
	flag  string
	usage string
	// text turns the text of the variable or the flag into that of the key, or into "" when it says
	// nothing about it; nil means as it is.
	text func(string) string
}

// ignoredFlag is a flag without effect. boolean says that it may come without a value.
type ignoredFlag struct {
	flag    string
	boolean bool
	why     string
}

// pointer is a pointer to a configuration.
type pointer[C any] interface {
	*C
	service
}

// Flags are the command line of a service. Bind them to a flag set of your own (libraries register
// flags on flag.CommandLine), parse it, then Load.
type Flags[C any] struct {
	// Path is the configuration file; empty means that the environment or the default decides.
	Path string
	// PrintConfig asks to print the effective configuration and exit.
	PrintConfig bool

	given []givenFlag
	load  func(*Flags[C], func(string) string) (C, error)
}

// givenFlag is a flag as it was given. One without effect has no key, and the reason as its value.
type givenFlag struct {
	flag, key, value string
}

// Load reads the configuration that the flags, the environment and the file give together. env is
// os.Getenv or a stand-in. The error is an *Error unless the file could not be read.
func (f *Flags[C]) Load(env func(string) string) (C, error) { return f.load(f, env) }

// bind registers -config, -print-config and the service's own flags. The flag package takes one
// dash or two.
func bind[C any, P pointer[C]](fs *flag.FlagSet, defaults func() C) *Flags[C] {
	flags := &Flags[C]{load: func(f *Flags[C], env func(string) string) (C, error) {
		return load[C, P](f.Path, env, defaults(), f.given)
	}}
	base := defaults()
	def := P(&base).definition()
	fs.StringVar(&flags.Path, "config", "", "configuration `file` (default: environment variable "+
		strings.Join(def.pathEnv, " or ")+", then "+def.defaultPath+" if it exists)")
	fs.BoolVar(&flags.PrintConfig, "print-config", false, "print the effective configuration without secrets and exit")
	root := reflect.ValueOf(&base).Elem()
	for _, o := range def.overrides {
		if o.flag == "" {
			continue
		}
		field := fieldAt(root, o.key)
		set := func(text string) error {
			if o.text != nil {
				text = o.text(text)
			}
			if problem := setText(reflect.New(field.Type()).Elem(), text); problem != "" {
				return errors.New(problem)
			}
			flags.given = append(flags.given, givenFlag{flag: o.flag, key: o.key, value: text})
			return nil
		}
		if field.Kind() == reflect.Bool {
			fs.BoolFunc(o.flag, o.usage, set)
		} else {
			fs.Func(o.flag, o.usage+"; overrides "+o.key, set)
		}
	}
	for _, i := range def.ignoredFlags {
		note := func(string) error {
			flags.given = append(flags.given, givenFlag{flag: i.flag, value: i.why})
			return nil
		}
		if i.boolean {
			fs.BoolFunc(i.flag, "accepted, and has no effect", note)
		} else {
			fs.Func(i.flag, "accepted, and has no effect", note)
		}
	}
	return flags
}

// load builds a configuration from all sources and checks it as a whole.
func load[C any, P pointer[C]](path string, env func(string) string, cfg C, given []givenFlag) (C, error) {
	path, body, err := open(path, env, P(&cfg).definition())
	if err != nil {
		var none C
		return none, err
	}
	return parse[C, P](path, body, env, cfg, given)
}

// parse is load for a file that was read already. cfg holds the defaults.
func parse[C any, P pointer[C]](path string, body []byte, env func(string) string, cfg C, given []givenFlag) (C, error) {
	p := P(&cfg)
	def := p.definition()
	d := &decoder{
		report:  &report{file: path, origins: map[string]origin{}},
		root:    reflect.ValueOf(&cfg).Elem(),
		aliases: def.aliases,
		ignored: def.ignored,
	}
	if len(body) > 0 {
		d.document(bytes.NewReader(body))
	}
	d.environment(def.overrides, env)
	for _, g := range given {
		if g.key == "" {
			d.warnings = append(d.warnings, "flag -"+g.flag+": accepted, and has no effect: "+g.value)
			continue
		}
		d.set(g.key, g.value, "flag -"+g.flag)
	}
	p.finish(d.report, env)
	p.check(d.report)
	if err := d.err(); err != nil {
		var none C
		return none, err
	}
	p.setWarnings(d.warnings)
	return cfg, nil
}

// open finds and reads the file. A file that was asked for must exist; the default one need not.
func open(path string, env func(string) string, def definition) (string, []byte, error) {
	from := "flag -config"
	for _, name := range def.pathEnv {
		if path == "" && env(name) != "" {
			path, from = env(name), "environment variable "+name
		}
	}
	optional := path == ""
	if optional {
		path = def.defaultPath
	}
	body, err := readBounded(path)
	switch {
	case err == nil:
		return path, body, nil
	case optional && errors.Is(err, fs.ErrNotExist):
		return "", nil, nil
	case optional:
		return "", nil, fmt.Errorf("read the default configuration file: %w", err)
	default:
		return "", nil, fmt.Errorf("read the configuration file that %s names: %w", from, err)
	}
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // opened for reading: closing cannot lose anything
	body, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxFileBytes {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFileBytes)
	}
	return body, nil
}

// environment applies the environment variables. Two variables for one key must agree.
func (d *decoder) environment(overrides []override, env func(string) string) {
	first := map[string]override{}
	for _, o := range overrides {
		if o.env == "" || env(o.env) == "" {
			continue
		}
		if before, ok := first[o.key]; ok && env(before.env) != env(o.env) {
			d.addAt(origin{source: "environment variable " + o.env}, o.key,
				"differs from environment variable %s, which means the same; keep one of them", before.env)
			continue
		}
		first[o.key] = o
		text := env(o.env)
		if o.text != nil {
			text = o.text(text)
		}
		if text == "" {
			continue // the variable says nothing about this key
		}
		d.set(o.key, text, "environment variable "+o.env)
	}
}

func (d *decoder) set(key, text, source string) {
	at := origin{source: source}
	if problem := setText(fieldAt(d.root, key), text); problem != "" {
		d.addAt(at, key, "%s", problem)
		return
	}
	d.origins[key] = at
}

// validate checks a configuration that was not loaded from a file.
func validate(s service) error {
	r := &report{origins: map[string]origin{}}
	s.check(r)
	return r.err()
}

// Print writes the effective configuration as YAML that loads again. It holds no secrets: those
// have no key of their own and come from files that the configuration only names.
func Print[C AIAnalysis | HolmesGPTAPI | DataStorage](w io.Writer, cfg C) error {
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(cfg); err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	return enc.Close()
}

// seconds reads a plain number as seconds, which is how older variables give a time.
func seconds(text string) string {
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return text + "s"
	}
	return text
}
