package compute

import "github.com/nubecula/cloud/internal/quota"

// QuotaLine is one resource of a project's quota.
type QuotaLine struct {
	Limit int64 // -1 means unlimited
	Used  int64 // 0 for what is not counted
}

// QuotaSet is a project's quota by Nova's names: "instances", "cores", "ram" ...
type QuotaSet map[string]QuotaLine

// book is the quota ledger of this package. Quotas are unlimited until they are set, but for the
// sizes of one request.
func newBook() *quota.Book {
	return quota.NewBook("compute",
		quota.Resource{Name: "instances", Default: quota.Unlimited},
		quota.Resource{Name: "cores", Default: quota.Unlimited},
		quota.Resource{Name: "ram", Label: "MiB of RAM", Default: quota.Unlimited},
		quota.Resource{Name: "key_pairs", Label: "key pairs of a user", Default: quota.Unlimited, Uncounted: true},
		quota.Resource{Name: "metadata_items", Label: "metadata items", Default: 128, Uncounted: true},
		quota.Resource{Name: "injected_files", Label: "injected files", Default: 5, Uncounted: true},
		quota.Resource{Name: "injected_file_content_bytes", Label: "bytes of an injected file", Default: 10240, Uncounted: true},
		quota.Resource{Name: "injected_file_path_bytes", Label: "bytes of a file's path", Default: 255, Uncounted: true},
		quota.Resource{Name: "server_groups", Label: "server groups", Default: quota.Unlimited, Uncounted: true},
		quota.Resource{Name: "server_group_members", Label: "members of a server group", Default: quota.Unlimited, Uncounted: true},
	)
}
