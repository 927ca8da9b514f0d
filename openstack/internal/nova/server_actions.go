package nova

import (
	"context"
	"slices"
	"strings"

	"github.com/nubecula/cloud/compute"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/openstack/internal/rest"
)

// action is one form of POST /servers/{id}/action.
type action struct {
	name string
	// since and until are the minor versions that have it, both included; 0 means no bound.
	since, until int
	// shape is what the value may be; nil means anything.
	shape rule
	// do carries it out; nil means that no hypervisor here can: 501.
	do func(a *api, ctx context.Context, r *rest.Request, id string) (*rest.Response, error)
	// refuse is the status of one that is known and cannot be done; 0 means 501.
	refuse int
}

// serverActions are all that Nova has up to the newest version.
func serverActions() []action {
	null := func(at string, v any, _ int) error {
		if v != nil {
			return wrong(at, v, "it must be null")
		}
		return nil
	}
	group := props{{name: "name", rule: name, must: 1}}.check
	return []action{
		{name: "os-start", do: plain((*compute.Service).StartServer)},
		{name: "os-stop", do: plain((*compute.Service).StopServer)},
		{name: "reboot", do: (*api).reboot,
			shape: props{{name: "type", must: 1, rule: oneOf("HARD", "Hard", "hard", "SOFT", "Soft", "soft")}}.check},
		{name: "forceDelete", do: plain((*compute.Service).DeleteServer)},
		{name: "lock", until: 72, do: (*api).lock},
		{name: "lock", since: 73, do: (*api).lock, shape: nullable(props{{name: "locked_reason", rule: text(1, 255, "", nil)}}.check)},
		{name: "unlock", do: plain((*compute.Service).UnlockServer)},
		{name: "os-resetState", do: (*api).resetState, shape: props{{name: "state", must: 1, rule: oneOf("active", "error")}}.check},
		{name: "os-getConsoleOutput", do: (*api).consoleOutput,
			shape: props{{name: "length", rule: nullable(integer(-1, unbounded))}}.check},
		{name: "addSecurityGroup", do: (*api).addSecurityGroup, shape: group},
		{name: "removeSecurityGroup", do: (*api).removeSecurityGroup, shape: group},

		{name: "restore", refuse: 409}, {name: "confirmResize", refuse: 409}, {name: "revertResize", refuse: 409},
		{name: "pause"}, {name: "unpause"}, {name: "suspend"}, {name: "resume"}, {name: "resize"}, {name: "rebuild"},
		{name: "createImage"}, {name: "createBackup"}, {name: "changePassword"}, {name: "rescue"}, {name: "unrescue"},
		{name: "shelve"}, {name: "unshelve"}, {name: "shelveOffload"},
		{name: "migrate"}, {name: "os-migrateLive"}, {name: "evacuate"},
		{name: "trigger_crash_dump", since: 17, shape: null},
		{name: "addFixedIp", until: 43}, {name: "removeFixedIp", until: 43},
		{name: "addFloatingIp", until: 43}, {name: "removeFloatingIp", until: 43},
		{name: "resetNetwork", refuse: 410}, {name: "injectNetworkInfo", refuse: 410},
		{name: "os-getVNCConsole", until: 5, refuse: 400}, {name: "os-getSPICEConsole", until: 5, refuse: 400},
		{name: "os-getSerialConsole", until: 5, refuse: 400}, {name: "os-getRDPConsole", until: 5, refuse: 400},
	}
}

// plain is an action that takes nothing but the server and answers 202.
func plain(do func(s *compute.Service, ctx context.Context, id string) error) func(*api, context.Context, *rest.Request, string) (*rest.Response, error) {
	return func(a *api, ctx context.Context, r *rest.Request, id string) (*rest.Response, error) {
		return rest.Accepted(nil), do(a.as(r), ctx, id)
	}
}

func (a *api) serverAction(ctx context.Context, r *rest.Request) (*rest.Response, error) {
	var body object
	if err := r.Decode(&body, rest.Strict); err != nil {
		return nil, err
	}
	if len(body) != 1 {
		return nil, fault.New(fault.Invalid, "the body has %d properties: it must have exactly one, the name of the action", len(body))
	}
	called := slices.Collect(keys(body))[0]
	all := serverActions()
	known := false
	for i := range all {
		act := &all[i]
		if act.name != called {
			continue
		}
		known = true
		if minor(r) < act.since || act.until != 0 && minor(r) > act.until {
			continue
		}
		if act.shape != nil {
			if err := act.shape(called, body[called], minor(r)); err != nil {
				return nil, err
			}
		}
		if act.do != nil {
			return act.do(a, ctx, r, r.Value("id"))
		}
		return nil, a.cannot(ctx, r, act)
	}
	if known {
		return nil, rest.Status(404, "the action "+called+" does not exist in API version "+r.Version.String())
	}
	return nil, fault.New(fault.Invalid, "there is no such action: %s", called)
}

// cannot is the answer to an action that Nova has and this cloud has not.
func (a *api) cannot(ctx context.Context, r *rest.Request, act *action) error {
	s, err := a.as(r).GetServer(ctx, r.Value("id"))
	if err != nil {
		return err
	}
	switch act.refuse {
	case 400:
		return fault.New(fault.Invalid, "unavailable console type: the guests here have no consoles but the serial log, os-getConsoleOutput")
	case 410:
		return rest.Status(410, "the action "+act.name+" was removed from Nova")
	case 409:
		return fault.New(fault.Conflict, "cannot '%s' instance %s while it is in vm_state %s: servers here are never resized or softly deleted", act.name, s.ID, s.VMState)
	}
	return fault.New(fault.Unsupported, "the requested functionality is not supported: no hypervisor here can %s a server yet", act.name)
}

func (a *api) reboot(ctx context.Context, r *rest.Request, id string) (*rest.Response, error) {
	var body struct {
		Reboot struct {
			Type string `json:"type"`
		} `json:"reboot"`
	}
	if err := r.Decode(&body, rest.Loose); err != nil {
		return nil, err
	}
	how := compute.Reboot(strings.ToUpper(body.Reboot.Type))
	return rest.Accepted(nil), a.as(r).RebootServer(ctx, id, how)
}

func (a *api) lock(ctx context.Context, r *rest.Request, id string) (*rest.Response, error) {
	reason := ""
	if r.AtLeast(73) {
		var body struct {
			Lock struct {
				Reason string `json:"locked_reason"`
			} `json:"lock"`
		}
		if err := r.Decode(&body, rest.Loose); err != nil {
			return nil, err
		}
		reason = body.Lock.Reason
	}
	return rest.Accepted(nil), a.as(r).LockServer(ctx, id, reason)
}

func (a *api) resetState(ctx context.Context, r *rest.Request, id string) (*rest.Response, error) {
	var body struct {
		Reset struct {
			State compute.VMState `json:"state"`
		} `json:"os-resetState"`
	}
	if err := r.Decode(&body, rest.Loose); err != nil {
		return nil, err
	}
	return rest.Accepted(nil), a.as(r).ResetState(ctx, id, body.Reset.State)
}

func (a *api) consoleOutput(ctx context.Context, r *rest.Request, id string) (*rest.Response, error) {
	if r.HTTP.Header.Get("Idempotency-Key") != "" {
		return nil, fault.InvalidField("Idempotency-Key", r.HTTP.Header.Get("Idempotency-Key"), "reading the console changes nothing: leave the key out")
	}
	var body struct {
		Get struct {
			Length *rest.Int `json:"length"`
		} `json:"os-getConsoleOutput"`
	}
	if err := r.Decode(&body, rest.Loose); err != nil {
		return nil, err
	}
	lines := -1
	if body.Get.Length != nil {
		lines = int(*body.Get.Length)
	}
	out, err := a.as(r).ConsoleOutput(ctx, id, lines)
	if err != nil {
		return nil, err
	}
	return rest.OK(object{"output": consoleText(out)}), nil
}

// consoleText makes JSON's text of what a guest wrote: what is no UTF-8 becomes "?", and control characters but
// tab and line ends go, as Nova does for clients that cannot show them.
func consoleText(out []byte) string {
	return strings.Map(func(c rune) rune {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' {
			return -1
		}
		return c
	}, strings.ToValidUTF8(string(out), "?"))
}
