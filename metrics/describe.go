package metrics

import "github.com/prometheus/client_golang/prometheus"

// descriptions are all metrics: name, help, labels.
type descriptions struct {
	requests, requestSeconds, here, slots, refused             *prometheus.Desc
	operations, ended, stepSeconds                             *prometheus.Desc
	queued, running, waiting, abandoned                        *prometheus.Desc
	updates, commits, conflicts, unknown, events, commitSecond *prometheus.Desc
	calls                                                      *prometheus.Desc
	hosts, vcpus, vcpusUsed, memory, memoryUsed                *prometheus.Desc
	disk, diskUsed                                             *prometheus.Desc
	replicas, failed                                           *prometheus.Desc
}

func newDescriptions() *descriptions {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("nubecula_"+name, help, labels, nil)
	}
	return &descriptions{
		requests:       d("api_requests_total", "API calls answered, by service, route (method and path pattern) and HTTP status.", "service", "route", "status"),
		requestSeconds: d("api_request_duration_seconds", "Time from an API call's arrival to its answer, in seconds.", "service", "route"),
		here:           d("api_calls", "API calls that are here now, by sort (reads, writes, logins, streams) and state: waiting (for their turn), running (at work), open (their body is being read, or their answer sent).", "sort", "state"),
		slots:          d("api_slots", "API calls of a sort that may be at work at once.", "sort"),
		refused:        d("api_refused_total", "API calls turned away before anything was done, by sort and reason: owner (its project, user or address has too many here), all (all together have), patience (not its turn in time), left (its client went while it waited), bodies (other calls' bodies fill the memory for them).", "sort", "reason"),

		operations:  d("operations", "Operations that have not ended, by kind, state (pending, running, undoing) and step under way.", "kind", "state", "step"),
		ended:       d("operations_ended_total", "Operations ended in this process, by kind and state (done, failed, canceled).", "kind", "state"),
		stepSeconds: d("operation_step_duration_seconds", "Time of attempts at an operation's step in this process, in seconds, by direction (do, undo) and code (ok or why it failed).", "kind", "step", "direction", "code"),
		queued:      d("engine_queued_operations", "Operations that wait for a worker of this process."),
		running:     d("engine_running_operations", "Operations that a worker of this process is at."),
		waiting:     d("engine_waiting_operations", "Operations of this process that wait for their time, after a failure or for something else."),
		abandoned:   d("engine_abandoned_calls", "Calls of drivers that were left behind after their time and have not returned."),

		updates:      d("store_updates_total", "Transactions committed."),
		commits:      d("store_commits_total", "Database commits made; one is shared by several transactions (updates per commit is the group size)."),
		conflicts:    d("store_conflicts_total", "Commits that ran again because another process was first."),
		unknown:      d("store_unknown_outcomes_total", "Commits whose outcome had to be asked for afterwards."),
		events:       d("store_events_total", "Events committed."),
		commitSecond: d("store_commit_duration_seconds", "Time of database commits, to the disk, in seconds."),

		calls: d("driver_call_duration_seconds", "Time of driver calls in seconds, by driver (compute, network, image), method and code (ok or why it failed).", "driver", "method", "code"),

		hosts:      d("hosts", "Hosts by state: up, disabled (by an operator), down, gone (declared so by an operator, and silent).", "state"),
		vcpus:      d("capacity_vcpus", "Virtual CPUs that hosts offer, before overcommitment, by state of the host.", "state"),
		vcpusUsed:  d("capacity_used_vcpus", "Virtual CPUs given to servers, by state of the host.", "state"),
		memory:     d("capacity_memory_bytes", "Memory that hosts offer, before overcommitment, by state of the host.", "state"),
		memoryUsed: d("capacity_used_memory_bytes", "Memory given to servers, by state of the host.", "state"),
		disk:       d("capacity_disk_bytes", "Local disk that hosts offer, before overcommitment, by state of the host.", "state"),
		diskUsed:   d("capacity_used_disk_bytes", "Local disk given to servers, by state of the host.", "state"),

		replicas: d("replicas", "Replicas whose lease holds, this one included."),
		failed:   d("scrape_failed", "1 when the store could not be read for this scrape, so that operations, hosts and replicas are missing; else 0."),
	}
}

// all lists them.
func (d *descriptions) all() []*prometheus.Desc {
	return []*prometheus.Desc{d.requests, d.requestSeconds, d.here, d.slots, d.refused, d.operations, d.ended, d.stepSeconds, d.queued, d.running, d.waiting, d.abandoned,
		d.updates, d.commits, d.conflicts, d.unknown, d.events, d.commitSecond, d.calls, d.hosts, d.vcpus, d.vcpusUsed, d.memory, d.memoryUsed,
		d.disk, d.diskUsed, d.replicas, d.failed}
}
