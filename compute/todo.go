package compute

import (
	"context"

	"github.com/nubecula/cloud/identity"
)

type core struct{}

// New returns a Service that acts for nobody.
func New(o Options) (*Service, error) { panic("todo") }

// As returns the Service on behalf of p.
func (s *Service) As(p *identity.Principal) *Service { return &Service{s.core, p} }

// Start registers the hosts and begins heartbeats and reconciliation. It returns once each host was asked once.
func (s *Service) Start(ctx context.Context) error { panic("todo") }

// Close stops the loops; the drivers stay open.
func (s *Service) Close() error { panic("todo") }

func (s *Service) CreateServer(ctx context.Context, req CreateServer) (*Created, error) {
	panic("todo")
}
func (s *Service) GetServer(ctx context.Context, id string) (*Server, error)           { panic("todo") }
func (s *Service) ListServers(ctx context.Context, q ServerQuery) (*ServerPage, error) { panic("todo") }
func (s *Service) UpdateServer(ctx context.Context, id string, req UpdateServer) (*Server, error) {
	panic("todo")
}

// DeleteServer accepts the deletion in any state; an unknown server is NotFound, one being deleted is success.
func (s *Service) DeleteServer(ctx context.Context, id string) error             { panic("todo") }
func (s *Service) StartServer(ctx context.Context, id string) error              { panic("todo") }
func (s *Service) StopServer(ctx context.Context, id string) error               { panic("todo") }
func (s *Service) RebootServer(ctx context.Context, id string, how Reboot) error { panic("todo") }
func (s *Service) LockServer(ctx context.Context, id, reason string) error       { panic("todo") }
func (s *Service) UnlockServer(ctx context.Context, id string) error             { panic("todo") }

// ResetState sets the state to Active or Error; for administrators.
func (s *Service) ResetState(ctx context.Context, id string, to VMState) error { panic("todo") }

// ConsoleOutput returns the last lines of the serial console; lines < 0 means all that is kept.
func (s *Service) ConsoleOutput(ctx context.Context, id string, lines int) ([]byte, error) {
	panic("todo")
}

// UserData returns what the guest was given, plain.
func (s *Service) UserData(ctx context.Context, id string) ([]byte, error) { panic("todo") }

func (s *Service) GetMetadata(ctx context.Context, serverID string) (map[string]string, error) {
	panic("todo")
}

// UpdateMetadata adds and changes items and returns all of them.
func (s *Service) UpdateMetadata(ctx context.Context, serverID string, items map[string]string) (map[string]string, error) {
	panic("todo")
}

// ReplaceMetadata sets all items.
func (s *Service) ReplaceMetadata(ctx context.Context, serverID string, items map[string]string) (map[string]string, error) {
	panic("todo")
}
func (s *Service) DeleteMetadata(ctx context.Context, serverID, key string) error { panic("todo") }

// GetTags: also in Server.Tags.
func (s *Service) ReplaceTags(ctx context.Context, serverID string, tags []string) ([]string, error) {
	panic("todo")
}

// AddTag reports whether it is new.
func (s *Service) AddTag(ctx context.Context, serverID, tag string) (added bool, err error) {
	panic("todo")
}
func (s *Service) DeleteTag(ctx context.Context, serverID, tag string) error { panic("todo") }
func (s *Service) DeleteTags(ctx context.Context, serverID string) error     { panic("todo") }

func (s *Service) ListInterfaces(ctx context.Context, serverID string) ([]*Interface, error) {
	panic("todo")
}
func (s *Service) GetInterface(ctx context.Context, serverID, portID string) (*Interface, error) {
	panic("todo")
}
func (s *Service) AttachInterface(ctx context.Context, serverID string, req AttachInterface) (*Interface, error) {
	panic("todo")
}
func (s *Service) DetachInterface(ctx context.Context, serverID, portID string) error { panic("todo") }

// ListActions: newest first, also of a deleted server.
func (s *Service) ListActions(ctx context.Context, serverID string) ([]*Action, error) { panic("todo") }
func (s *Service) GetAction(ctx context.Context, serverID, requestID string) (*Action, error) {
	panic("todo")
}

func (s *Service) CreateFlavor(ctx context.Context, req CreateFlavor) (*Flavor, error) { panic("todo") }
func (s *Service) GetFlavor(ctx context.Context, id string) (*Flavor, error)           { panic("todo") }
func (s *Service) ListFlavors(ctx context.Context, q FlavorQuery) (page []*Flavor, more bool, err error) {
	panic("todo")
}
func (s *Service) UpdateFlavor(ctx context.Context, id string, req UpdateFlavor) (*Flavor, error) {
	panic("todo")
}
func (s *Service) DeleteFlavor(ctx context.Context, id string) error { panic("todo") }

// UpdateExtraSpecs adds and changes extra specs and returns all of them.
func (s *Service) UpdateExtraSpecs(ctx context.Context, flavorID string, specs map[string]string) (map[string]string, error) {
	panic("todo")
}
func (s *Service) DeleteExtraSpec(ctx context.Context, flavorID, key string) error { panic("todo") }
func (s *Service) ListFlavorAccess(ctx context.Context, flavorID string) ([]FlavorAccess, error) {
	panic("todo")
}
func (s *Service) AddFlavorAccess(ctx context.Context, flavorID, projectID string) ([]FlavorAccess, error) {
	panic("todo")
}
func (s *Service) RemoveFlavorAccess(ctx context.Context, flavorID, projectID string) ([]FlavorAccess, error) {
	panic("todo")
}

func (s *Service) CreateKeypair(ctx context.Context, req CreateKeypair) (*Keypair, error) {
	panic("todo")
}

// GetKeypair: userID "" means the caller.
func (s *Service) GetKeypair(ctx context.Context, userID, name string) (*Keypair, error) {
	panic("todo")
}
func (s *Service) ListKeypairs(ctx context.Context, q KeypairQuery) (page []*Keypair, more bool, err error) {
	panic("todo")
}
func (s *Service) DeleteKeypair(ctx context.Context, userID, name string) error { panic("todo") }

// ListHosts, by name; hypervisors and compute services are both views of a Host.
func (s *Service) ListHosts(ctx context.Context) ([]*Host, error) { panic("todo") }

// GetHost by id or name.
func (s *Service) GetHost(ctx context.Context, idOrName string) (*Host, error) { panic("todo") }
func (s *Service) UpdateHost(ctx context.Context, id string, req UpdateHost) (*Host, error) {
	panic("todo")
}

// ListZones: Hosts are filled for administrators who ask for details.
func (s *Service) ListZones(ctx context.Context, details bool) ([]*Zone, error) { panic("todo") }

func (s *Service) GetQuota(ctx context.Context, projectID string) (QuotaSet, error) { panic("todo") }

// DefaultQuota returns the limits of projects that have none of their own.
func (s *Service) DefaultQuota(ctx context.Context) (QuotaSet, error) { panic("todo") }

// UpdateQuota: without force a limit below what is used is Invalid.
func (s *Service) UpdateQuota(ctx context.Context, projectID string, limits map[string]int64, force bool) (QuotaSet, error) {
	panic("todo")
}

// UpdateDefaultQuota sets the limits of projects that have none of their own (quota class "default").
func (s *Service) UpdateDefaultQuota(ctx context.Context, limits map[string]int64) (QuotaSet, error) {
	panic("todo")
}
func (s *Service) DeleteQuota(ctx context.Context, projectID string) error { panic("todo") }
