package simbackend

import (
	"context"
	"net/http"

	"github.com/nubecula/cloud/network/networkdriver"
)

type bind struct {
	Port networkdriver.Port `json:"port"`
	Bind networkdriver.Bind `json:"bind"`
}

type change struct {
	Since    int64                  `json:"since"`
	Topology networkdriver.Topology `json:"topology"`
	Gone     []string               `json:"gone"`
}

func (s *Server) serveNetwork() {
	handle(s, "/network/Apply", func(r *http.Request, t networkdriver.Topology) (none, error) {
		return none{}, s.once(r, "network", "Apply", t.NetworkID, func(ctx context.Context) error {
			err := s.network.Apply(ctx, t)
			if err == nil {
				s.ledger.applied(t.NetworkID)
			}
			return err
		})
	})
	handle(s, "/network/Change", func(r *http.Request, a change) (none, error) {
		return none{}, s.once(r, "network", "Change", a.Topology.NetworkID, func(ctx context.Context) error {
			err := s.network.Change(ctx, a.Since, a.Topology, a.Gone)
			if err == nil {
				s.ledger.changed(a.Topology.NetworkID)
			}
			return err
		})
	})
	handle(s, "/network/Remember", func(r *http.Request, a remember) (newest int64, err error) {
		err = s.run(r, "network", "Remember", a.Cloud, func(ctx context.Context) error {
			if newest, err = s.network.Remember(ctx, a.Cloud, a.Epoch); err == nil && a.Epoch > 0 {
				s.ledger.count("Remember")
			}
			return err
		})
		return newest, err
	})
	handle(s, "/network/Remove", func(r *http.Request, id string) (none, error) {
		return none{}, s.once(r, "network", "Remove", id, func(ctx context.Context) error {
			err := s.network.Remove(ctx, id)
			if err == nil {
				s.ledger.remove(id)
			}
			return err
		})
	})
	handle(s, "/network/Bind", func(r *http.Request, a bind) (out networkdriver.Binding, err error) {
		err = s.once(r, "network", "Bind", a.Port.ID, func(ctx context.Context) error {
			if out, err = s.network.Bind(ctx, a.Port, a.Bind); err == nil {
				s.ledger.bound(a.Port.ID, a.Bind)
			}
			return err
		})
		return out, err
	})
	handle(s, "/network/Unbind", func(r *http.Request, a bind) (none, error) {
		return none{}, s.once(r, "network", "Unbind", a.Port.ID, func(ctx context.Context) error {
			err := s.network.Unbind(ctx, a.Port.ID, a.Bind)
			if err == nil {
				s.ledger.unbind(a.Port.ID, a.Bind)
			}
			return err
		})
	})
	handle(s, "/network/Networks", func(r *http.Request, _ none) (out []networkdriver.NetworkState, err error) {
		err = s.run(r, "network", "Networks", "", func(ctx context.Context) error {
			out, err = s.network.Networks(ctx)
			return err
		})
		return out, err
	})
}
