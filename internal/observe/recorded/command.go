package recorded

import (
	"regexp"
	"slices"
	"strings"
)

// command is a kubectl command line, as far as it tells what the lines after it are.
type command struct {
	verb          string // get, describe, logs, top, …; "other" for a program that is not kubectl
	resources     []resource
	unknown       bool // it names a kind that is not known here
	names         []string
	namespace     string
	allNamespaces bool
	container     string
	previous      bool
	prefix        bool
	timestamps    bool
	allContainers bool
	output        string
	labels        []string // -L
	selector      string
	filtered      bool // its output went through a filter
	args          []string
	unit          string // of systemctl and journalctl
	host          string // on which these ran, when it is said
	as            string
}

// prompt is what stands before a command: "$ ", "# ", "user@host:~$ ", "PS C:\> ", "+ ", "[root@node ~]# ".
var prompt = regexp.MustCompile(`^(?:\[[^\]]{1,80}\][#$]\s+|PS [^>]{0,80}>\s*|(?:\([^)]{1,40}\)\s*)?[\w.@:~/\\-]{0,80}[$#%>❯➜λ]\s+|\+\s+|❯\s*|➜\s+\S+\s+)?(.*)$`)

var programs = []string{"kubectl", "oc", "k", "kubecolor", "k3s kubectl", "microk8s kubectl", "microk8s.kubectl", "minikube kubectl --", "sudo kubectl", "sudo k3s kubectl", "sudo oc"}

var verbs = []string{"get", "describe", "logs", "log", "top", "rollout", "auth", "version", "events", "cluster-info", "explain", "exec", "apply", "delete", "create", "run", "edit", "scale", "config", "api-resources", "debug", "cordon", "drain", "uncordon", "patch", "label", "annotate", "set", "wait", "diff", "port-forward", "cp", "expose", "taint"}

// commandIn returns the command of a line, or nil.
func commandIn(line string) *command {
	if len(line) > 2000 {
		return nil
	}
	text := strings.TrimSpace(line)
	if !strings.ContainsAny(text, " ") && text != "date" {
		return nil
	}
	m := prompt.FindStringSubmatch(text)
	prompted := m != nil && m[1] != text
	rest := text
	if m != nil {
		rest = strings.TrimSpace(m[1])
	}
	for _, p := range programs {
		after, ok := strings.CutPrefix(rest, p+" ")
		if !ok {
			continue
		}
		c := parseCommand(words(after))
		if c == nil || p == "k" && !prompted && len(c.resources) == 0 && c.verb != "logs" {
			return nil
		}
		return c
	}
	if c := hostCommand(words(rest)); c != nil {
		return c
	}
	if prompted && (strings.HasPrefix(text, "$ ") || strings.Contains(text, "@")) && rest != "" {
		return &command{verb: "other", args: words(rest)}
	}
	return nil
}

// hostCommand reads systemctl, journalctl and date, here or over ssh.
func hostCommand(args []string) *command {
	host := ""
	for len(args) > 0 && (args[0] == "sudo" || args[0] == "ssh") {
		if args[0] == "ssh" && len(args) > 1 {
			host = args[1][strings.LastIndexByte(args[1], '@')+1:]
			args = args[1:]
		}
		args = args[1:]
	}
	if len(args) == 0 {
		return nil
	}
	c := &command{verb: args[0], host: host}
	switch args[0] {
	case "date":
		return c
	case "systemctl":
		if len(args) < 3 || args[1] != "status" {
			return nil
		}
		c.unit = strings.TrimSuffix(args[2], ".service")
		return c
	case "journalctl":
		for i, a := range args {
			if (a == "-u" || a == "-xeu" || a == "--unit") && i+1 < len(args) {
				c.unit = strings.TrimSuffix(args[i+1], ".service")
			}
		}
		return c
	}
	return nil
}

// words splits a command line, without the shell's finer points.
func words(s string) []string {
	var out []string
	var cur strings.Builder
	quote, open := byte(0), false
	for i := range len(s) {
		c := s[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			} else {
				cur.WriteByte(c)
			}
		case c == '"' || c == '\'':
			quote, open = c, true
		case c == ' ' || c == '\t':
			if open {
				out = append(out, cur.String())
				cur.Reset()
				open = false
			}
		case c == '|' || c == ';':
			if open {
				out = append(out, cur.String())
				cur.Reset()
			}
			open = false
			out = append(out, string(c))
		default:
			cur.WriteByte(c)
			open = true
		}
	}
	if open {
		out = append(out, cur.String())
	}
	return out
}

// valued are kubectl's flags that take a value and say nothing here.
var valued = map[string]bool{
	"--context": true, "--kubeconfig": true, "--cluster": true, "--user": true, "--tail": true, "--since": true, "--since-time": true, "--sort-by": true, "--field-selector": true,
	"--request-timeout": true, "--token": true, "-s": true, "--server": true, "--limit-bytes": true, "--max-log-requests": true, "--as-group": true, "--for": true, "--types": true, "--revision": true, "-f": true, "--chunk-size": true,
}

func parseCommand(args []string) *command {
	c := &command{}
	var rest []string
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "|" || a == ";" || a == "&&" || a == "||" || strings.HasPrefix(a, ">") || strings.HasPrefix(a, "2>") {
			c.filtered = c.filtered || a == "|" && i+1 < len(args) && filters[args[i+1]]
			if a == "|" {
				continue
			}
			break
		}
		if c.filtered {
			continue
		}
		name, value, inline := strings.Cut(a, "=")
		next := func() string {
			if inline {
				return value
			}
			if i+1 < len(args) {
				i++
				return args[i]
			}
			return ""
		}
		switch {
		case name == "-n" || name == "--namespace":
			c.namespace = next()
		case strings.HasPrefix(a, "-n") && len(a) > 2 && a[2] != '-' && !strings.HasPrefix(a, "--"):
			c.namespace = strings.TrimPrefix(a[2:], "=")
		case a == "-A" || name == "--all-namespaces" && value != "false":
			c.allNamespaces = true
		case name == "-o" || name == "--output":
			c.output = next()
		case strings.HasPrefix(a, "-o") && len(a) > 2 && !strings.HasPrefix(a, "--"):
			c.output = strings.TrimPrefix(a[2:], "=")
		case name == "-c" || name == "--container":
			c.container = next()
		case a == "-p" || name == "--previous":
			c.previous = value != "false"
		case name == "-L" || name == "--label-columns":
			c.labels = append(c.labels, strings.Split(next(), ",")...)
		case name == "-l" || name == "--selector":
			c.selector = next()
		case name == "--field-selector":
			c.selector = next()
		case name == "--prefix":
			c.prefix = value != "false"
		case name == "--timestamps":
			c.timestamps = value != "false"
		case name == "--all-containers":
			c.allContainers = value != "false"
		case name == "--as":
			c.as = next()
		case a == "-w" || name == "--watch" || name == "--watch-only":
			c.filtered = true
		case valued[name] && !(a == "-f" && c.verb == "logs"):
			next()
		case strings.HasPrefix(a, "-"):
		case c.verb == "":
			if !slices.Contains(verbs, a) {
				return nil
			}
			c.verb = strings.Replace(a, "log", "logs", 1)
			c.verb = strings.Replace(c.verb, "logss", "logs", 1)
		default:
			rest = append(rest, a)
		}
	}
	c.args = rest
	c.operands(rest)
	if c.verb == "" {
		return nil
	}
	return c
}

// filters cut lines out of what passes through them.
var filters = map[string]bool{"grep": true, "egrep": true, "head": true, "tail": true, "awk": true, "sed": true, "rg": true, "jq": true, "yq": true, "cut": true, "findstr": true, "Select-String": true, "fgrep": true, "uniq": true}

// operands reads kinds and names.
func (c *command) operands(rest []string) {
	if len(rest) == 0 {
		return
	}
	switch c.verb {
	case "get", "describe":
	case "logs":
		if kind, name, ok := strings.Cut(rest[0], "/"); ok {
			if res, known := resourceOf(kind); known {
				c.resources, c.names = []resource{res}, []string{name}
			}
		} else {
			c.resources, c.names = []resource{kinds["Pod"]}, rest[:1]
		}
		if len(rest) > 1 && c.container == "" {
			c.container = rest[1]
		}
		return
	case "top", "rollout":
		if len(rest) < 2 && c.verb == "rollout" {
			return
		}
		if c.verb == "rollout" {
			c.args, rest = rest, rest[1:]
		}
	default:
		return
	}
	if strings.Contains(rest[0], "/") {
		for _, a := range rest {
			kind, name, _ := strings.Cut(a, "/")
			res, known := resourceOf(kind)
			c.unknown = c.unknown || !known
			if known && name != "" {
				if !slices.Contains(c.resources, res) {
					c.resources = append(c.resources, res)
				}
				c.names = append(c.names, name)
			}
		}
		return
	}
	for name := range strings.SplitSeq(rest[0], ",") {
		if name == "all" {
			for _, n := range everything {
				c.resources = append(c.resources, resources[n])
			}
			continue
		}
		res, known := resourceOf(name)
		if !known {
			c.unknown = true
			continue
		}
		c.resources = append(c.resources, res)
	}
	c.names = rest[1:]
}

// lists reports whether the command asked for all objects of its kinds.
func (c *command) lists() bool {
	return c != nil && c.verb == "get" && len(c.names) == 0 && c.selector == "" && !c.filtered && len(c.resources) > 0
}

// only returns the one kind that the command is about.
func (c *command) only() (resource, bool) {
	if c == nil || len(c.resources) != 1 || c.unknown {
		return resource{}, false
	}
	return c.resources[0], true
}
