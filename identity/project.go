package identity

import (
	"context"
	"slices"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// maxDepth is how many projects may be on the way from a domain down to a project.
const maxDepth = 5

func projectTarget(v *Project) Target {
	if v.IsDomain {
		return Target{Kind: "domain", ID: v.ID, DomainID: v.ID}
	}
	return Target{Kind: "project", ID: v.ID, ProjectID: v.ID, DomainID: v.DomainID}
}

// CreateProject is a request for a new project.
type CreateProject struct {
	Name        string
	DomainID    string // "" means the parent's, else that of the caller's scope
	ParentID    string // "" means the domain
	IsDomain    bool   // make a domain; DomainID and ParentID must be empty
	Description string
	Enabled     *bool // nil means true
	Tags        []string
	Options     Extra
	Extra       Extra
}

// CreateProject makes a project. Exists: its domain has one of that name; Invalid: a field or reference is wrong.
func (s *Service) CreateProject(ctx context.Context, req CreateProject) (*Project, error) {
	if req.IsDomain {
		return s.createDomain(ctx, "", req)
	}
	v := &Project{Name: req.Name, ParentID: req.ParentID, Description: req.Description, Enabled: orTrue(req.Enabled),
		Tags: sortedTags(req.Tags), Options: Extra(nil).merge(req.Options), Extra: Extra(nil).merge(req.Extra)}
	if err := v.check(); err != nil {
		return nil, err
	}
	err := s.update(ctx, func(tx *store.Tx) error {
		v.ParentID, v.DomainID = req.ParentID, req.DomainID
		if v.ParentID == "" {
			v.ParentID = s.homeDomain(req.DomainID)
		}
		if err := s.place(tx, v); err != nil {
			return err
		}
		if err := s.allow(tx, "identity:project:create", Target{Kind: "project", DomainID: v.DomainID}); err != nil {
			return err
		}
		v.ID = dashless(tx.NewID())
		s.emit(tx, "project", "created", v.ID)
		return projects.Insert(tx, v)
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (v *Project) check() error {
	if err := checkName("name", v.Name, 64); err != nil {
		return err
	}
	if err := checkOptions(lockOptions, v.Options); err != nil {
		return err
	}
	return checkTags(v.Tags)
}

// place checks the parent of a new project and takes the domain from it.
func (s *Service) place(tx *store.Tx, v *Project) error {
	parent, err := must(tx, projects, "parent_id", v.ParentID)
	if err != nil {
		return err
	}
	domainID := parent.DomainID
	if parent.IsDomain {
		domainID = parent.ID
	}
	if v.DomainID != "" && v.DomainID != domainID {
		return fault.InvalidField("domain_id", v.DomainID, "the parent is in domain "+domainID)
	}
	v.DomainID = domainID
	if !parent.Enabled && v.Enabled {
		return &fault.Error{Code: fault.Denied, Kind: "project", ID: parent.ID, Msg: "is disabled; enable it before its children"}
	}
	depth := 1
	for up := parent; !up.IsDomain; depth++ {
		if up, err = projects.Get(tx, up.ParentID); err != nil {
			return err
		}
	}
	if depth > maxDepth {
		return fault.New(fault.Denied, "projects can be nested %d deep at most", maxDepth)
	}
	return nil
}

// GetProject returns a project. A domain can be asked for too.
func (s *Service) GetProject(ctx context.Context, id string) (*Project, error) {
	return show(ctx, s, projects, id, "identity:project:get", projectTarget)
}

// ListProjects selects projects.
type ListProjects struct {
	ListOptions
	DomainID string // "" means any
	ParentID string
	Enabled  *bool // nil means both
	IsDomain bool  // list domains instead
	Tags     []string
	TagsAny  []string
	NotTags  []string // none of the projects that have all of these
	NotAny   []string // none that has one of these
}

// ListProjects returns projects by domain and name.
func (s *Service) ListProjects(ctx context.Context, o ListProjects) ([]*Project, error) {
	q := store.Query[Project]{Index: "name", Prefix: store.Tuple{o.IsDomain}}
	if o.DomainID != "" && !o.IsDomain {
		q.Prefix = append(q.Prefix, o.DomainID)
	}
	has := func(v *Project) func(string) bool {
		return func(t string) bool { return slices.Contains(v.Tags, t) }
	}
	q.Filter = func(v *Project) bool {
		all := func(tags []string) bool {
			return !slices.ContainsFunc(tags, func(t string) bool { return !slices.Contains(v.Tags, t) })
		}
		return o.Match(v.Name) && (o.ParentID == "" || v.ParentID == o.ParentID) && (o.Enabled == nil || v.Enabled == *o.Enabled) &&
			all(o.Tags) && (len(o.TagsAny) == 0 || slices.ContainsFunc(o.TagsAny, has(v))) &&
			(len(o.NotTags) == 0 || !all(o.NotTags)) && !slices.ContainsFunc(o.NotAny, has(v))
	}
	return list(ctx, s, projects, o.ListOptions, "identity:project:list", q)
}

// UpdateProject is a change of a project or domain; nil and absent fields stay as they are.
type UpdateProject struct {
	Name        *string
	Description *string
	Enabled     *bool
	Tags        *[]string
	DomainID    *string // must be what it is
	ParentID    *string // must be what it is
	Options     Extra   // null takes one away
	Extra       Extra   // null takes one away
}

// UpdateProject changes a project. Disabling it ends all tokens for it. Denied: children are enabled,
// the parent is disabled, or it is immutable.
func (s *Service) UpdateProject(ctx context.Context, id string, req UpdateProject) (*Project, error) {
	return modify(ctx, s, projects, id, "identity:project:update", projectTarget, func(tx *store.Tx, v *Project) error {
		return s.changeProject(tx, v, req)
	})
}

func (s *Service) changeProject(tx *store.Tx, v *Project, req UpdateProject) error {
	onlyOptions := req.Name == nil && req.Description == nil && req.Enabled == nil && req.Tags == nil && len(req.Extra) == 0
	if err := checkMutable(projectTarget(v).Kind, v.ID, v.Options, req.Options, onlyOptions); err != nil {
		return err
	}
	if req.DomainID != nil && *req.DomainID != v.DomainID {
		return fault.InvalidField("domain_id", *req.DomainID, "a project cannot move to another domain")
	}
	if req.ParentID != nil && *req.ParentID != v.ParentID {
		return &fault.Error{Code: fault.Denied, Kind: "project", ID: v.ID, Field: "parent_id", Msg: "a project cannot move to another parent"}
	}
	was := v.Enabled
	set(&v.Name, req.Name)
	set(&v.Description, req.Description)
	set(&v.Enabled, req.Enabled)
	if req.Tags != nil {
		if err := checkTags(*req.Tags); err != nil {
			return err
		}
		v.Tags = sortedTags(*req.Tags)
	}
	v.Options, v.Extra = v.Options.merge(req.Options), v.Extra.merge(req.Extra)
	if err := v.check(); err != nil {
		return err
	}
	switch {
	case v.Enabled && !was && !v.IsDomain:
		parent, err := projects.Get(tx, v.ParentID)
		if err == nil && !parent.Enabled {
			err = &fault.Error{Code: fault.Denied, Kind: "project", ID: v.ID, Msg: "cannot be enabled while its parent " + parent.ID + " is disabled"}
		}
		return err
	case !v.Enabled && was:
		return s.disableProject(tx, v)
	}
	return nil
}

// disableProject ends every token for a project or domain, and of the domain's users.
func (s *Service) disableProject(tx *store.Tx, v *Project) (err error) {
	if !v.IsDomain {
		below, err := projects.List(tx, store.Query[Project]{Index: "parent", Prefix: store.Tuple{v.ID}, Limit: 1,
			Filter: func(c *Project) bool { return c.Enabled }})
		if err != nil {
			return err
		}
		if len(below) > 0 {
			return &fault.Error{Code: fault.Denied, Kind: "project", ID: v.ID, Msg: "has an enabled child, " + below[0].ID + "; disable that first"}
		}
	}
	v.Epoch, err = s.nextEpoch(tx)
	return err
}

// DeleteProject deletes a project and the role assignments on it. Denied: it has children, or is immutable.
func (s *Service) DeleteProject(ctx context.Context, id string) error {
	return remove(ctx, s, projects, id, "identity:project:delete", projectTarget, func(tx *store.Tx, v *Project) error {
		if v.IsDomain {
			return s.emptyDomain(tx, v)
		}
		below, err := projects.List(tx, store.Query[Project]{Index: "parent", Prefix: store.Tuple{v.ID}, Limit: 1})
		if err != nil {
			return err
		}
		if len(below) > 0 {
			return &fault.Error{Code: fault.Denied, Kind: "project", ID: v.ID, Msg: "has a child, " + below[0].ID + "; delete that first"}
		}
		return s.emptyProject(tx, v)
	})
}

// emptyProject removes what refers to a project.
func (s *Service) emptyProject(tx *store.Tx, v *Project) error {
	if err := checkMutable("project", v.ID, v.Options, nil, false); err != nil {
		return err
	}
	fans, err := users.List(tx, store.Query[User]{Index: "default_project", Prefix: store.Tuple{v.ID}})
	for _, u := range fans {
		u.DefaultProjectID = ""
		if err := users.Put(tx, u); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return s.dropAssignments(tx, "target", store.Tuple{"project", v.ID})
}

// SetTags replaces the tags of a project.
func (s *Service) SetTags(ctx context.Context, projectID string, tags []string) ([]string, error) {
	v, err := modify(ctx, s, projects, projectID, "identity:project:update_tags", projectTarget, func(tx *store.Tx, v *Project) error {
		if err := checkTags(tags); err != nil {
			return err
		}
		v.Tags = sortedTags(tags)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v.Tags, nil
}

// AddTag adds one tag, which may be there already.
func (s *Service) AddTag(ctx context.Context, projectID, tag string) error {
	_, err := modify(ctx, s, projects, projectID, "identity:project:update_tags", projectTarget, func(tx *store.Tx, v *Project) error {
		if slices.Contains(v.Tags, tag) {
			return nil
		}
		v.Tags = sortedTags(append(v.Tags, tag))
		return checkTags(v.Tags)
	})
	return err
}

// DeleteTag takes one tag away; NotFound when it is not there.
func (s *Service) DeleteTag(ctx context.Context, projectID, tag string) error {
	_, err := modify(ctx, s, projects, projectID, "identity:project:update_tags", projectTarget, func(tx *store.Tx, v *Project) error {
		i := slices.Index(v.Tags, tag)
		if i < 0 {
			return fault.Missing("tag", tag)
		}
		v.Tags = slices.Delete(v.Tags, i, i+1)
		return nil
	})
	return err
}
