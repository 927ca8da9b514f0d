package engine

// ready holds the tasks that wait for a worker, a line for each project. Projects take turns, so that one with ten
// thousand waiting operations does not hold back another's only one. Guarded by Engine.mu.
type ready struct {
	lines map[string][]*task // by project, oldest first; "" is work of nobody's
	turns []string           // the projects with a line, next first
	busy  map[string]int     // workers that a project has
	size  int
}

func newReady() ready { return ready{lines: map[string][]*task{}, busy: map[string]int{}} }

func (r *ready) add(t *task) {
	if len(r.lines[t.project]) == 0 {
		r.turns = append(r.turns, t.project)
	}
	r.lines[t.project] = append(r.lines[t.project], t)
	r.size++
}

// take returns the oldest task of the project whose turn it is, among those that have fewer than most workers; nil
// when there is none. Its worker is counted until done.
func (r *ready) take(most int) *task {
	for i, project := range r.turns {
		if project != "" && r.busy[project] >= most {
			continue
		}
		line := r.lines[project]
		t := line[0]
		r.turns = append(r.turns[:i], r.turns[i+1:]...)
		if line[0] = nil; len(line) > 1 {
			r.lines[project] = line[1:]
			r.turns = append(r.turns, project)
		} else {
			delete(r.lines, project)
		}
		r.size--
		r.busy[project]++
		return t
	}
	return nil
}

func (r *ready) done(t *task) {
	if r.busy[t.project]--; r.busy[t.project] == 0 {
		delete(r.busy, t.project)
	}
}

// share is how many workers one project may have: an eighth is left to the others, whose operations would otherwise
// wait until a driver that hangs has let one go.
func (e *Engine) share() int { return e.opt.Workers - e.opt.Workers/8 }
