package compute

import "github.com/nubecula/cloud/internal/finding"

// What Check finds in the store. None of it can come from what users or operators do: each is a lost write or a bug.
var (
	serverStuck = finding.Rule{Name: "server-stuck",
		Means: "nobody will bring the server out of that state; its user waits in vain",
		Do:    "delete the server, or set its state with openstack server set --state active|error and act from there; tell it with the log of the time"}
	serverWithoutHost = finding.Rule{Name: "server-without-host",
		Means: "it looks usable and runs nowhere",
		Do:    "delete the server and make it anew; tell it with the log of the time"}
	serverWithoutSeed = finding.Rule{Name: "server-without-seed",
		Means: "its config drive cannot be made again: a hard reboot that has to define the guest anew fails; a guest that runs goes on",
		Do:    "let it run, and make it anew when convenient"}
	seedLeft = finding.Rule{Name: "seed-left",
		Means: "what a deleted server was told at boot is still kept, sealed; it takes a little space and nobody reads it",
		Do:    "nothing is urgent; tell it with the log of the time"}
	claimMissing = finding.Rule{Name: "claim-missing",
		Means: "the server uses its host without being counted there: the host may be given more than it has",
		Do:    "disable the host for new servers (openstack compute service set --disable) until the server has been made anew"}
	claimLeft = finding.Rule{Name: "claim-left",
		Means: "room on the host is counted as used by a server that is not there: new servers may be refused",
		Do:    "nothing is lost; other hosts take the servers. Tell it with the log of the time"}
	ledgerWrong = finding.Rule{Name: "host-ledger-wrong",
		Means: "the scheduler has a wrong idea of how full the host is: it refuses servers that would fit, or gives it too many",
		Do:    "compare with openstack hypervisor show; disable the host for new servers if it is too full. Tell it with the log of the time"}
	debtWithoutClaim = finding.Rule{Name: "debt-without-claim",
		Means: "a guest is still to be removed from a host, and its room was given to others already",
		Do:    "see that the host answers: the guest is removed then, and this goes away"}
)
