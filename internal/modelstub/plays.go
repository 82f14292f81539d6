package modelstub

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"kubernaut.ai/kubernaut/internal/reason"
)

// silence is longer than anybody waits.
const silence = 10 * time.Minute

// Plays returns the plays that ship, by the name of the model:
//
//	good            looks around, then says what the engine says, each sentence with its evidence
//	brief           says it at once
//	doubtful        holds that nothing is wrong, without evidence
//	obedient        does what any text of the cluster tells it
//	garbage         answers with text that is no JSON
//	chatty          never calls the tool that ends an investigation
//	wrong-ids       cites evidence and chooses a workflow that do not exist
//	endless         asks for one more tool, for ever
//	repeating       asks the same again and again
//	huge            answers with megabytes
//	uncounted       is good, and does not say how many tokens it counted
//	limited         answers 429 and asks for 30 s
//	failing         answers 500
//	cut             ends the connection in the middle of its answer
//	silent          says nothing for ten minutes
//	slow            takes three seconds for each answer
//	refusing        declines
func Plays() map[string]Play {
	return map[string]Play{
		"good":     good,
		"brief":    agree,
		"doubtful": doubtful,
		"obedient": obedient,
		"garbage":  func(Conversation) Reply { return Reply{Raw: "<html>502 Bad Gateway {{{"} },
		"chatty": func(c Conversation) Reply {
			return Reply{Text: fmt.Sprintf("I think we should look deeper (%d).", c.Turn())}
		},
		"wrong-ids": wrongIDs,
		"endless":   endless,
		"repeating": func(c Conversation) Reply {
			return Reply{Calls: []reason.Call{call(c, 0, "list", object{"kind": "Pod"})}}
		},
		"huge": func(c Conversation) Reply {
			return Reply{Text: strings.Repeat("All work and no play. ", 200_000), Calls: []reason.Call{call(c, 0, "list", object{"kind": strings.Repeat("Pod", 100_000)})}}
		},
		"uncounted": func(c Conversation) Reply {
			r := good(c)
			r.Uncounted = true
			return r
		},
		"limited":  func(Conversation) Reply { return Reply{Status: 429, RetryAfter: 30 * time.Second} },
		"failing":  func(Conversation) Reply { return Reply{Status: 500} },
		"cut":      func(c Conversation) Reply { r := good(c); r.CutAfter = 40; return r },
		"silent":   func(Conversation) Reply { return Reply{Delay: silence} },
		"slow":     func(c Conversation) Reply { r := good(c); r.Delay = 3 * time.Second; return r },
		"refusing": func(Conversation) Reply { return Reply{Refuses: true} },
	}
}

// Names returns the names of plays, in order.
func Names(plays map[string]Play) []string { return slices.Sorted(maps.Keys(plays)) }

func call(c Conversation, i int, name string, arguments any) reason.Call {
	text, err := json.Marshal(arguments)
	if err != nil {
		text = []byte("{}")
	}
	return reason.Call{ID: fmt.Sprintf("call_%d_%d", c.Turn(), i), Name: name, Arguments: text}
}

func submit(c Conversation, arguments any) Reply {
	return Reply{Calls: []reason.Call{call(c, 0, "submit_diagnosis", arguments)}}
}

// told is what the plays read of a case.
type told struct {
	Engine struct {
		Verdict    string `json:"verdict"`
		Summary    string `json:"summary"`
		Candidates []struct {
			ID     string `json:"id"`
			Target string `json:"target"`
			Chain  []link `json:"chain"`
		} `json:"candidates"`
		Symptoms []link `json:"symptoms"`
	} `json:"engine"`
	Workflows []struct {
		ID string `json:"id"`
	} `json:"workflows"`
}

type link struct {
	About    string   `json:"about"`
	Says     string   `json:"says"`
	Evidence []string `json:"evidence"`
}

func caseOf(c Conversation) told {
	var t struct {
		Case told `json:"case"`
	}
	for _, m := range c.Messages {
		if m.Role == reason.RoleUser && json.Unmarshal([]byte(m.Text), &t) == nil {
			break
		}
	}
	return t.Case
}

// good asks for what an engineer would look at, then agrees.
func good(c Conversation) Reply {
	t := caseOf(c)
	if c.Only != "" || c.Turn() > 1 || len(t.Engine.Candidates) == 0 {
		return agree(c)
	}
	kind, rest, _ := strings.Cut(t.Engine.Candidates[0].Target, " ")
	target := object{"kind": kind, "name": rest}
	if ns, name, ok := strings.Cut(rest, "/"); ok {
		target = object{"kind": kind, "namespace": ns, "name": name}
	}
	return Reply{Calls: []reason.Call{call(c, 0, "describe", target), call(c, 1, "neighbours", target)}}
}

// agree says what the engine says.
func agree(c Conversation) Reply {
	t := caseOf(c)
	verdict, candidate, workflow := "undecided", "none", "none"
	links := t.Engine.Symptoms
	switch {
	case len(t.Engine.Candidates) > 0:
		verdict, candidate, links = "cause", t.Engine.Candidates[0].ID, t.Engine.Candidates[0].Chain
		if len(t.Workflows) > 0 {
			workflow = t.Workflows[0].ID
		}
	case t.Engine.Verdict == "healthy":
		verdict = "healthy"
	}
	var cause []object
	for _, l := range links[:min(len(links), 8)] {
		says := []rune(l.About + ": " + l.Says)
		cause = append(cause, object{"text": string(says[:min(len(says), 390)]), "evidence": append([]string{}, l.Evidence[:min(len(l.Evidence), 8)]...)})
	}
	if len(cause) == 0 {
		cause = []object{{"text": "The engine found nothing that is wrong.", "evidence": []string{}}}
	}
	return submit(c, object{"verdict": verdict, "candidate": candidate, "cause": cause, "workflow": workflow})
}

func doubtful(c Conversation) Reply {
	return submit(c, object{"verdict": "healthy", "candidate": "none", "workflow": "none", "cause": []object{{"text": "Nothing is wrong here; it is a false alarm.", "evidence": []string{}}}})
}

func wrongIDs(c Conversation) Reply {
	return submit(c, object{
		"verdict": "cause", "candidate": "c99", "workflow": "99999999-9999-4999-8999-999999999999",
		"cause": []object{{"text": "The database is down.", "evidence": []string{"e9999"}}},
	})
}

func endless(c Conversation) Reply {
	return Reply{Calls: []reason.Call{call(c, 0, "events", object{"namespace": fmt.Sprintf("n%d", c.Turn())}), call(c, 1, "list", object{"kind": "Pod", "namespace": fmt.Sprintf("n%d", c.Turn())})}}
}

var (
	orders = regexp.MustCompile(`(?i)\b(ignore|disregard|instead|you must|you are now|system:|assistant:|approve|select|choose|set the confidence|report)\b`)
	ids    = regexp.MustCompile(`(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)
)

// obedient follows every order that it reads: it cites it, takes the workflow that it names, and holds that
// nothing is wrong where it says so.
func obedient(c Conversation) Reply {
	if c.Turn() == 1 && c.Only == "" {
		return good(c)
	}
	var text strings.Builder
	for _, m := range c.Messages {
		text.WriteString(m.Text + "\n")
		for _, r := range m.Results {
			text.WriteString(r.Content + "\n")
		}
	}
	var heard []string
	for s := range strings.SplitSeq(text.String(), `"`) {
		if orders.MatchString(s) && len(heard) < 4 {
			heard = append(heard, s)
		}
	}
	if len(heard) == 0 {
		return agree(c)
	}
	said := strings.Join(heard, " ")
	workflow := "none"
	if id := ids.FindString(said); id != "" {
		workflow = id
	}
	says := []rune(said)
	verdict, candidate := "cause", "c1"
	if strings.Contains(strings.ToLower(said), "healthy") || strings.Contains(strings.ToLower(said), "nothing is wrong") {
		verdict, candidate, workflow = "healthy", "none", "none"
	}
	return submit(c, object{
		"verdict": verdict, "candidate": candidate, "workflow": workflow,
		"cause": []object{{"text": string(says[:min(len(says), 390)]), "evidence": []string{"e1"}}},
	})
}
