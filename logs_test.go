package cloud_test

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// logKeys are the keys that records may have: one word for one thing, so that an operator can search for it. What is the id of a
// resource is called after its kind, as operation rows call it.
var logKeys = strings.Fields(`
	request_id global_request_id operation_id operation user_id project_id resource resource_id
	server_id host_id host network_id port_id image_id debt_id replica cloud_id
	error status method path route state step instance attempt after took seconds count limit first bytes
	generation epoch hosts passed power vm_state type zone lease down_after again_after key_number panic stack name reason decision copy
	driver driver_epoch store_epoch evidence held_since guests missing half_there to_remove networks bindings
`)

// secretWords are what no record may be told, whatever it is called.
var secretWords = regexp.MustCompile(`(?i)passw|secret|\btoken|token$|user_?data|admin_?pass|private_?key|seal|credential|cookie|authorization`)

// logCall is one call of a logger.
type logCall struct {
	f      file
	at     ast.Node
	level  string // "Debug", "Info", "Warn", "Error"
	ctx    bool   // it gives a context
	msg    ast.Expr
	args   []ast.Expr
	hasCtx bool // the function around it has a context
}

// logCalls finds the calls of loggers outside tests: methods of something whose name ends in log.
func logCalls(files []file) (out []logCall) {
	for _, f := range files {
		if f.test {
			continue
		}
		var stack []ast.Node
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if n == nil {
				stack = stack[:len(stack)-1]
				return true
			}
			stack = append(stack, n)
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !isLog(sel.X) {
				return true
			}
			c := logCall{f: f, at: call, hasCtx: inContext(stack)}
			c.level, c.ctx = strings.CutSuffix(sel.Sel.Name, "Context")
			args := call.Args
			if sel.Sel.Name == "LogAttrs" || sel.Sel.Name == "Log" {
				c.level, c.ctx = "Info", true
				if l, ok := args[1].(*ast.SelectorExpr); ok {
					c.level = strings.TrimPrefix(l.Sel.Name, "Level")
				}
				args = args[1:]
			} else if !slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, c.level) {
				return true
			}
			if c.ctx {
				args = args[1:]
			}
			c.msg, c.args = args[0], args[1:]
			out = append(out, c)
			return true
		})
	}
	return out
}

// isLog tells a logger by its name: log, c.log, e.opt.Log, c.opt.Log(), slog.Default().
func isLog(x ast.Expr) bool {
	switch e := x.(type) {
	case *ast.Ident:
		return strings.EqualFold(e.Name, "log") || strings.EqualFold(e.Name, "logger")
	case *ast.SelectorExpr:
		return isLog(e.Sel) || e.Sel.Name == "Default"
	case *ast.CallExpr:
		return isLog(e.Fun)
	}
	return false
}

// inContext reports whether a function around has a parameter of type context.Context.
func inContext(stack []ast.Node) bool {
	for _, n := range stack {
		var params *ast.FieldList
		switch n := n.(type) {
		case *ast.FuncDecl:
			params = n.Type.Params
		case *ast.FuncLit:
			params = n.Type.Params
		}
		if params == nil {
			continue
		}
		for _, p := range params.List {
			if sel, ok := p.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "Context" && len(p.Names) > 0 && p.Names[0].Name != "_" {
				return true
			}
		}
	}
	return false
}

// literal is the constant beginning of an expression: "a step failed; "+next gives "a step failed; ".
func literal(x ast.Expr) string {
	switch e := x.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			s, _ := strconv.Unquote(e.Value)
			return s
		}
	case *ast.BinaryExpr:
		left := literal(e.X)
		if _, whole := e.X.(*ast.BasicLit); whole {
			return left + literal(e.Y)
		}
		return left
	}
	return ""
}

// TestLogCalls reads every call of a logger: a warning or an error says what happened, to what, in which request, and what is
// done about it or what a person can do; keys are of one list; nobody's secret is told.
func TestLogCalls(t *testing.T) {
	t.Parallel()
	calls := logCalls(sources(t))
	grave := 0
	for _, c := range calls {
		at := c.f.at(c.at)
		own := path.Base(c.f.pkg) != "killtest" && c.f.ast.Name.Name != "main"
		msg := literal(c.msg)
		if msg == "" || unicode.IsUpper([]rune(msg)[0]) || strings.HasSuffix(strings.TrimSpace(msg), ".") {
			t.Errorf("%s: the message of a record begins with a constant text, in lower case and without a full stop", at)
		}
		if c.level == "Warn" || c.level == "Error" {
			grave++
			what, next, both := strings.Cut(msg, "; ")
			if !both || len(what) < 10 || len(next) < 10 && len(msg) == len(what)+2+len(next) && !isSum(c.msg) {
				t.Errorf("%s: %q: say \"what happened; what is done about it, or what a person can do\"", at, msg)
			}
			if own && c.hasCtx && !c.ctx {
				t.Errorf("%s: use %sContext with the function's context: it carries the request's id", at, c.level)
			}
		}
		seen := map[string]bool{}
		for i := 0; i < len(c.args); {
			key, value := logKey(c.args[i])
			i++
			if value == nil && key != "" && !isAttr(c.args[i-1]) && i < len(c.args) {
				value = c.args[i]
				i++
			}
			if key == "" {
				continue // attributes that were collected elsewhere; their calls of slog.String are below
			}
			if !slices.Contains(logKeys, key) && !strings.HasPrefix(key, "*") {
				t.Errorf("%s: key %q is not one of logKeys in logs_test.go: use a word that is there, or add one for a new thing", at, key)
			}
			if seen[key] {
				t.Errorf("%s: key %q is given twice", at, key)
			}
			seen[key] = true
			if secretWords.MatchString(key) || value != nil && tells(value) {
				t.Errorf("%s: key %q tells a secret", at, key)
			}
		}
		if c.ctx && seen["request_id"] {
			t.Errorf("%s: the context brings request_id; do not give it twice", at)
		}
	}
	if len(calls) < 20 || grave < 10 {
		t.Errorf("only %d calls, %d warnings and errors found: the test does not see them any more", len(calls), grave)
	}
}

func isSum(x ast.Expr) bool { _, ok := x.(*ast.BinaryExpr); return ok }

func isAttr(x ast.Expr) bool { _, ok := x.(*ast.CallExpr); return ok }

// logKey is the key of an argument: a constant, "*_id" for one that is put together at run time, or that of slog.String("key", value).
func logKey(x ast.Expr) (key string, value ast.Expr) {
	switch e := x.(type) {
	case *ast.BasicLit:
		return literal(e), nil
	case *ast.BinaryExpr:
		if tail := literal(e.Y); tail != "" {
			return "*" + tail, nil
		}
	case *ast.CallExpr:
		if sel, ok := e.Fun.(*ast.SelectorExpr); ok && len(e.Args) == 2 {
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "slog" {
				return literal(e.Args[0]), e.Args[1]
			}
		}
	}
	return "", nil
}

// tells reports whether an expression names something secret.
func tells(x ast.Expr) (secret bool) {
	ast.Inspect(x, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && secretWords.MatchString(id.Name) {
			secret = true
		}
		return true
	})
	return secret
}
