package faasd

// Where a gateway's list of functions says how many replicas are ready.
const (
	// readyAvailable: in availableReplicas. 0 and a missing field are the same.
	readyAvailable = "available"
	// readyReplicas: in replicas. faasd counts only tasks that run, and leaves
	// availableReplicas out of its list.
	readyReplicas = "replicas"
)

// readyBy says it for the orchestrations that /system/info names.
var readyBy = map[string]string{
	"kubernetes": readyAvailable, // faas-netes
	"processes":  readyAvailable, // the embedded provider
	"containerd": readyReplicas,  // faasd
}

// setReady fills in how many replicas of each function are ready.
func setReady(functions []Function, orchestration string) {
	by := readyBy[orchestration]
	for _, f := range functions {
		if f.Status.AvailableReplicas > 0 {
			by = readyAvailable // whoever says it of one says it of all
			break
		}
	}
	for i := range functions {
		f := &functions[i]
		f.ReadyKnown = by != ""
		f.Ready = f.Status.Replicas
		if by == readyAvailable {
			f.Ready = f.Status.AvailableReplicas
		}
	}
}
