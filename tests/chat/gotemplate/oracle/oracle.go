// Render conversations by Go's own text/template, as Ollama does.
//
// What the converter is measured by: a JSON list of cases on stdin, a JSON list
// of {"text"} or {"error"} on stdout. It needs nothing but the standard library.
package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
)

type message struct {
	Role       string     `json:"role"`
	Content    string     `json:"content"`
	Thinking   string     `json:"thinking,omitempty"`
	ToolCalls  []toolCall `json:"tool_calls,omitempty"`
	ToolName   string     `json:"tool_name,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
}

type toolCall struct {
	ID       string `json:"id,omitempty"`
	Function struct {
		Index     int       `json:"-"`
		Name      string    `json:"name"`
		Arguments arguments `json:"arguments"`
	} `json:"function"`
}

type arguments map[string]any
type properties map[string]property
type tools []tool
type typeNames []string

type tool struct {
	Type     string `json:"type"`
	Items    any    `json:"items,omitempty"`
	Function struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Parameters  struct {
			Type       string     `json:"type"`
			Defs       any        `json:"$defs,omitempty"`
			Items      any        `json:"items,omitempty"`
			Required   []string   `json:"required,omitempty"`
			Properties properties `json:"properties"`
		} `json:"parameters"`
	} `json:"function"`
}

type property struct {
	AnyOf       []property `json:"anyOf,omitempty"`
	Type        typeNames  `json:"type,omitempty"`
	Items       any        `json:"items,omitempty"`
	Description string     `json:"description,omitempty"`
	Enum        []any      `json:"enum,omitempty"`
	Required    []string   `json:"required,omitempty"`
}

func asJSON(value any) string {
	text, _ := json.Marshal(value)
	return string(text)
}

func (value arguments) String() string  { return asJSON(map[string]any(value)) }
func (value properties) String() string { return asJSON(map[string]property(value)) }
func (value tools) String() string      { return asJSON([]tool(value)) }

func (names typeNames) String() string {
	if len(names) == 1 {
		return names[0]
	}
	return "[" + strings.Join(names, " ") + "]"
}

func (names typeNames) MarshalJSON() ([]byte, error) {
	if len(names) == 1 {
		return json.Marshal(names[0])
	}
	return json.Marshal([]string(names))
}

func (names *typeNames) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*names = typeNames{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(names))
}

type conversation struct {
	Template   string
	Messages   []message
	Tools      tools
	Think      *bool
	ThinkLevel string
	Suffix     string
}

var functions = template.FuncMap{
	"json":          asJSON,
	"currentDate":   func(...string) string { return time.Now().Format("2006-01-02") },
	"yesterdayDate": func(...string) string { return time.Now().AddDate(0, 0, -1).Format("2006-01-02") },
}

func main() {
	var cases []conversation
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	results := []map[string]string{}
	for _, one := range cases {
		text, err := one.render()
		if err != nil {
			results = append(results, map[string]string{"error": err.Error()})
		} else {
			results = append(results, map[string]string{"text": text})
		}
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(results); err != nil {
		panic(err)
	}
}

func (one conversation) render() (string, error) {
	parsed, err := template.New("").Option("missingkey=zero").Funcs(functions).Parse(one.Template)
	if err != nil {
		return "", err
	}
	names := map[string]bool{}
	for _, part := range parsed.Templates() {
		collect(part.Root, names)
	}
	messages, system := merge(one.Messages)
	if one.Suffix != "" {
		return run(parsed, one.root(map[string]any{
			"Prompt": one.Messages[len(one.Messages)-1].Content, "Suffix": one.Suffix, "Response": "",
		}))
	}
	if names["messages"] {
		return run(parsed, one.root(map[string]any{
			"System": system, "Messages": messages, "Tools": one.Tools, "Response": "",
		}))
	}
	if !names["response"] {
		extra, _ := template.New("").Parse("{{ .Response }}")
		parsed.Root.Nodes = append(parsed.Root.Nodes, extra.Root.Nodes...)
	}
	return one.turns(parsed, messages)
}

func (one conversation) root(values map[string]any) map[string]any {
	values["Think"] = one.Think == nil || *one.Think
	values["IsThinkSet"] = true
	values["ThinkLevel"] = one.ThinkLevel
	return values
}

func (one conversation) turns(parsed *template.Template, messages []*message) (string, error) {
	var out strings.Builder
	turn := map[string]any{"System": "", "Prompt": "", "Response": ""}
	var failed error
	finish := func() {
		text, err := run(parsed, one.root(turn))
		out.WriteString(text)
		if err != nil {
			failed = err
		}
		turn = map[string]any{"System": "", "Prompt": "", "Response": ""}
	}
	for _, next := range messages {
		switch next.Role {
		case "system":
			if turn["Prompt"] != "" || turn["Response"] != "" {
				finish()
			}
			turn["System"] = next.Content
		case "user":
			if turn["Response"] != "" {
				finish()
			}
			turn["Prompt"] = next.Content
		case "assistant":
			turn["Response"] = next.Content
		}
	}
	done := false
	parsed.Root = truncated(parsed.Root, &done)
	finish()
	return out.String(), failed
}

func run(parsed *template.Template, root map[string]any) (string, error) {
	var out strings.Builder
	err := parsed.Execute(&out, root)
	return out.String(), err
}

func merge(all []message) (merged []*message, system string) {
	var systems []string
	for index := range all {
		next := all[index]
		if next.Role == "system" {
			systems = append(systems, next.Content)
		}
		if count := len(merged); count > 0 && merged[count-1].Role == next.Role && next.Role != "tool" {
			merged[count-1].Content += "\n\n" + next.Content
			continue
		}
		merged = append(merged, &next)
	}
	return merged, strings.Join(systems, "\n\n")
}

func collect(node parse.Node, names map[string]bool) {
	add := func(found []string) {
		for _, name := range found {
			names[strings.ToLower(name)] = true
		}
	}
	branch := func(of parse.BranchNode) {
		collect(of.Pipe, names)
		collect(of.List, names)
		if of.ElseList != nil {
			collect(of.ElseList, names)
		}
	}
	switch node := node.(type) {
	case *parse.ListNode:
		for _, inner := range node.Nodes {
			collect(inner, names)
		}
	case *parse.ActionNode:
		collect(node.Pipe, names)
	case *parse.TemplateNode:
		if node.Pipe != nil {
			collect(node.Pipe, names)
		}
	case *parse.IfNode:
		branch(node.BranchNode)
	case *parse.WithNode:
		branch(node.BranchNode)
	case *parse.RangeNode:
		branch(node.BranchNode)
	case *parse.PipeNode:
		for _, command := range node.Cmds {
			for _, operand := range command.Args {
				collect(operand, names)
			}
		}
	case *parse.FieldNode:
		add(node.Ident)
	case *parse.VariableNode:
		add(node.Ident)
	case *parse.ChainNode:
		collect(node.Node, names)
		add(node.Field)
	}
}

// truncated drops what comes after the first action that prints .Response.
func truncated(list *parse.ListNode, done *bool) *parse.ListNode {
	if list == nil {
		return nil
	}
	kept := list.CopyList()
	kept.Nodes = nil
	for _, node := range list.Nodes {
		if *done {
			break
		}
		switch node := node.(type) {
		case *parse.IfNode:
			node.List, node.ElseList = truncated(node.List, done), truncated(node.ElseList, done)
		case *parse.WithNode:
			node.List, node.ElseList = truncated(node.List, done), truncated(node.ElseList, done)
		case *parse.RangeNode:
			node.List, node.ElseList = truncated(node.List, done), truncated(node.ElseList, done)
		case *parse.ActionNode:
			*done = hasResponse(node.Pipe)
		}
		kept.Nodes = append(kept.Nodes, node)
	}
	return kept
}

func hasResponse(pipe *parse.PipeNode) bool {
	for _, command := range pipe.Cmds {
		for _, operand := range command.Args {
			switch operand := operand.(type) {
			case *parse.FieldNode:
				for _, name := range operand.Ident {
					if name == "Response" {
						return true
					}
				}
			case *parse.PipeNode:
				if hasResponse(operand) {
					return true
				}
			}
		}
	}
	return false
}
