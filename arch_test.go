package cloud_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The rules of the house. Each says why in its message; doc/design/000-house-rules.md has the reasons at length.

const module = "github.com/nubecula/cloud"

type file struct {
	path  string // slash-separated, from the root
	pkg   string // directory, "." for the root
	test  bool
	lines int
	ast   *ast.File
	fset  *token.FileSet
}

func sources(t *testing.T) []file {
	var out []file
	require.NoError(t, filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		tree, err := parser.ParseFile(fset, p, text, parser.ParseComments)
		if err != nil {
			return err
		}
		p = filepath.ToSlash(p)
		out = append(out, file{p, path.Dir(p), strings.HasSuffix(p, "_test.go"), strings.Count(string(text), "\n"), tree, fset})
		return nil
	}))
	require.NotEmpty(t, out)
	return out
}

func (f file) at(n ast.Node) string { return f.fset.Position(n.Pos()).String() }

// floors of the import graph; a package's floor is that of its longest prefix here.
var floors = map[string]int{
	"fault": 0, "internal/clock": 0, "internal/id": 0, "internal/request": 0, "internal/meter": 0,
	"compute/computedriver": 1, "network/networkdriver": 1, "image/imagedriver": 1, "volume/volumedriver": 1, "event": 1, "store": 1, "operation": 1, "internal/lease": 1,
	"internal/filelock": 0, "internal/statedir": 0, "internal/configdrive": 0,
	"store/memory": 2, "store/sqlite": 2, "store/postgres": 2, "store/chaos": 2, "store/storetest": 2,
	"compute/fakecompute": 2, "compute/libvirt": 2, "compute/computetest": 2,
	"network/fakenetwork": 2, "network/hostnet": 2, "network/networktest": 2, "network/internal/ledger": 2,
	"image/fakeimage": 2, "image/fileimage": 2, "image/imagetest": 2,
	"internal/exact": 7, "internal/simulate": 7,
	"scheduler": 3, "internal": 3,
	"identity": 4, "metering": 4, "image": 4, "network": 4, "volume": 4, "compute": 4,
	".": 5, "openstack": 6, "operator": 6, "metrics": 6, "cloudtest": 7, "examples": 7, "internal/bench": 7, "internal/killtest": 7,
}

// sameFloor lists who may import whom on one floor; "*" stands for everything below a prefix.
var sameFloor = map[string][]string{
	"fault": {"internal/clock", "fault"}, "internal/clock": {"fault"}, "internal/request": {"internal/id"},
	"internal/filelock": {"fault"}, "internal/statedir": {"fault", "internal/filelock"}, "internal/configdrive": {"fault"},
	"compute/computedriver": {"volume/volumedriver", "network/networkdriver"}, "volume/volumedriver": {"image/imagedriver"},
	"store": {"event"}, "operation": {"store"}, "internal/lease": {"store"},
	"internal": {"internal", "scheduler"}, "scheduler": {"scheduler"},
	"network/fakenetwork": {"network/internal/ledger"}, "network/hostnet": {"network/internal/ledger"},
	"internal/simulate": {"cloudtest"},
	"metering":          {"identity"}, "image": {"identity", "metering"}, "network": {"identity", "metering", "image"},
	"volume":    {"identity", "metering", "image", "network"},
	"compute":   {"identity", "metering", "image", "network", "volume"},
	"openstack": {"openstack"}, "examples": {"cloudtest"}, "internal/bench": {"cloudtest", "internal/bench"}, "internal/killtest": {"cloudtest"},
}

func prefixOf(pkg string) string {
	for p := pkg; ; p = path.Dir(p) {
		if _, ok := floors[p]; ok {
			return p
		}
		if p == "." || p == "/" {
			return ""
		}
	}
}

func TestImportFloors(t *testing.T) {
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		from := prefixOf(f.pkg)
		if from == "" || from == "." && f.pkg != "." {
			t.Errorf("%s: package %s has no floor: give it one in arch_test.go", f.path, f.pkg)
			continue
		}
		for _, imp := range f.ast.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			if name != module && !strings.HasPrefix(name, module+"/") {
				continue
			}
			pkg := strings.TrimPrefix(strings.TrimPrefix(name, module), "/")
			if pkg == "" {
				pkg = "."
			}
			to := prefixOf(pkg)
			if floors[to] < floors[from] || to == from && pkg != f.pkg && (from == "fault" || from == "scheduler" || from == "internal" || from == "openstack" || from == "examples" || from == "internal/bench") || slices.Contains(sameFloor[from], to) {
				if from == "scheduler" && floors[to] > 0 && to != "scheduler" {
					t.Errorf("%s imports %s: the scheduler is pure and imports floor 0 only", f.path, pkg)
				}
				continue
			}
			t.Errorf("%s (floor %d) imports %s (floor %d): imports go down, or sideways where sameFloor says so", f.path, floors[from], pkg, floors[to])
		}
	}
}

// Who imports the core does not carry Prometheus's client library.
func TestMetricsAreApart(t *testing.T) {
	for _, f := range sources(t) {
		for _, imp := range f.ast.Imports {
			if strings.Contains(imp.Path.Value, "/prometheus/") && f.pkg != "metrics" {
				t.Errorf("%s imports %s: only package metrics does", f.path, imp.Path.Value)
			}
			if imp.Path.Value == strconv.Quote(module+"/metrics") && f.pkg != "examples/lab" && f.pkg != "metrics" {
				t.Errorf("%s imports metrics: only a program does, which wants to carry it", f.path)
			}
		}
	}
}

func TestPackageDocs(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range sources(t) {
		if !f.test {
			documented[f.pkg] = documented[f.pkg] || f.ast.Doc != nil
		}
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("package %s has no package comment: a stranger starts there", pkg)
		}
	}
}

func TestFileLength(t *testing.T) {
	for _, f := range sources(t) {
		if f.lines > 800 {
			t.Errorf("%s has %d lines, more than 800: one thing a file", f.path, f.lines)
		}
	}
}

func TestNoBannedNames(t *testing.T) {
	for _, f := range sources(t) {
		switch path.Base(f.pkg) {
		case "utils", "util", "common", "types", "manager", "helpers", "misc":
			t.Errorf("package %s: a name that says nothing", f.pkg)
		}
	}
}

func TestNoInitAndNoMutableGlobals(t *testing.T) {
	vars := map[string]map[string]bool{} // by package: names of variables
	files := sources(t)
	for _, f := range files {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					t.Errorf("%s: init has effects on everybody who imports the package", f.at(d))
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					v, ok := s.(*ast.ValueSpec)
					if !ok || d.Tok != token.VAR {
						continue
					}
					for _, n := range v.Names {
						if vars[f.pkg] == nil {
							vars[f.pkg] = map[string]bool{}
						}
						vars[f.pkg][n.Name] = n.Name != "_" // assigning to _ writes nothing
						if len(v.Values) == 0 && n.Name != "_" && !mutableAllowed[f.pkg+"."+n.Name] && !embedded(d, v) {
							t.Errorf("%s: %s has no value of its own, so somebody writes to it: no mutable globals", f.at(n), n.Name)
						}
					}
				}
			}
		}
	}
	for _, f := range files {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			local := locals(fn)
			check := func(x ast.Expr) {
				id := root(x)
				if id != nil && vars[f.pkg][id.Name] && !local[id.Name] && !mutableAllowed[f.pkg+"."+id.Name] {
					t.Errorf("%s: %s is written to: no mutable globals, many Clouds live in one process", f.at(x), id.Name)
				}
			}
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.AssignStmt:
					if n.Tok != token.DEFINE {
						for _, l := range n.Lhs {
							check(l)
						}
					}
				case *ast.IncDecStmt:
					check(n.X)
				}
				return true
			})
		}
	}
}

// mutableAllowed lists the exceptions, each with its reason where it is declared.
var mutableAllowed = map[string]bool{
	"compute/libvirt.eventLoop": true, // libvirt's event loop is one for the process
}

func embedded(d *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, g := range []*ast.CommentGroup{d.Doc, v.Doc} {
		if g == nil {
			continue
		}
		for _, c := range g.List {
			if strings.HasPrefix(c.Text, "//go:embed") {
				return true
			}
		}
	}
	return false
}

// root returns the identifier that an assignment to x changes, or nil.
func root(x ast.Expr) *ast.Ident {
	for {
		switch e := x.(type) {
		case *ast.Ident:
			return e
		case *ast.IndexExpr:
			x = e.X
		case *ast.SelectorExpr:
			x = e.X
		case *ast.StarExpr:
			x = e.X
		case *ast.ParenExpr:
			x = e.X
		default:
			return nil
		}
	}
}

// locals collects every name that a function declares, wherever in it.
func locals(fn *ast.FuncDecl) map[string]bool {
	names := map[string]bool{}
	fields := func(l *ast.FieldList) {
		if l != nil {
			for _, f := range l.List {
				for _, n := range f.Names {
					names[n.Name] = true
				}
			}
		}
	}
	fields(fn.Recv)
	fields(fn.Type.Params)
	fields(fn.Type.Results)
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			fields(n.Type.Params)
			fields(n.Type.Results)
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, l := range n.Lhs {
					if id, ok := l.(*ast.Ident); ok {
						names[id.Name] = true
					}
				}
			}
		case *ast.RangeStmt:
			for _, x := range []ast.Expr{n.Key, n.Value} {
				if id, ok := x.(*ast.Ident); ok && n.Tok == token.DEFINE {
					names[id.Name] = true
				}
			}
		case *ast.ValueSpec:
			for _, id := range n.Names {
				names[id.Name] = true
			}
		}
		return true
	})
	return names
}

// Time comes from a clock that a test can hold; a program of its own (package main) may look at the machine's.
func TestTimeComesFromTheClock(t *testing.T) {
	for _, f := range sources(t) {
		if f.pkg == "internal/clock" || f.ast.Name.Name == "main" && !f.test {
			continue
		}
		banned := []string{"Sleep"}
		if !f.test {
			banned = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && x.Obj == nil && slices.Contains(banned, sel.Sel.Name) && !realTimeAllowed(f) {
				t.Errorf("%s: time.%s: take a clock.Clock, so that a test need not wait", f.at(n), sel.Sel.Name)
			}
			return true
		})
	}
}

// realTimeAllowed: these wait for, or measure, other processes.
func realTimeAllowed(f file) bool {
	for _, pkg := range []string{"compute/libvirt", "internal/bench", "internal/killtest"} {
		if strings.HasPrefix(f.pkg, pkg) {
			return true
		}
	}
	return false
}
