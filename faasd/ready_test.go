package faasd

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// What the gateways answer, as far as it bears on replicas: taken from faasd
// 0.19's and faas-netes' handlers, and from the embedded provider. All of them
// leave out a number that is 0.
const (
	faasdInfo     = `{"provider":{"provider":"faasd-ce","version":{"release":"0.19.0","sha":"a"},"orchestration":"containerd"},"version":{"release":"0.27.12","sha":"b"},"arch":"x86_64"}`
	bareFaasdInfo = `{"provider":"faasd-ce","version":{"release":"0.19.0","sha":"a"},"orchestration":"containerd"}`
	netesInfo     = `{"provider":{"provider":"faas-netes-ce","version":{"release":"0.18.13","sha":"a"},"orchestration":"kubernetes"},"version":{"release":"0.27.12","sha":"b"},"arch":"x86_64"}`
	embeddedInfo  = `{"arch":"x86_64","provider":{"provider":"dfaas-provider","version":{"sha":"a","release":"v1"},"orchestration":"processes"},"version":{"sha":"a","release":"v1"}}`
)

func TestReady(t *testing.T) {
	const created = `"createdAt":"2026-01-02T03:04:05Z"`
	for name, test := range map[string]struct {
		info, list string
		want       string
	}{
		"faasd: one runs, one is dead or starts": {faasdInfo, `[
			{"name":"dead","image":"i","namespace":"openfaas-fn","labels":{},"annotations":{},` + created + `},
			{"name":"runs","image":"i","namespace":"openfaas-fn","labels":{},"annotations":{},"replicas":1,` + created + `}]`,
			"dead 0 true, runs 1 true"},
		"faasd's provider without its gateway": {bareFaasdInfo, `[{"name":"runs","image":"i","replicas":1,` + created + `}]`, "runs 1 true"},
		"OpenFaaS: one is ready in part, one starts, one is scaled to zero": {netesInfo, `[
			{"name":"part","image":"i","namespace":"openfaas-fn","replicas":5,"availableReplicas":3,` + created + `},
			{"name":"starts","image":"i","namespace":"openfaas-fn","replicas":2,` + created + `},
			{"name":"zero","image":"i","namespace":"openfaas-fn",` + created + `}]`,
			"part 3 true, starts 0 true, zero 0 true"},
		"OpenFaaS: all start":          {netesInfo, `[{"name":"a","image":"i","replicas":1,` + created + `}]`, "a 0 true"},
		"the embedded provider":        {embeddedInfo, `[{"name":"a","image":"i","replicas":1},{"name":"b","image":"i","replicas":1,"availableReplicas":1}]`, "a 0 true, b 1 true"},
		"the embedded provider, alone": {embeddedInfo, `[{"name":"a","image":"i","replicas":1}]`, "a 0 true"},
		"another, which says it of one": {`{"provider":{"provider":"x","orchestration":"y"}}`,
			`[{"name":"a","replicas":1},{"name":"b","replicas":1,"availableReplicas":1}]`, "a 0 true, b 1 true"},
		"another, which says it of none":   {`{"provider":{"provider":"x","orchestration":"y"}}`, `[{"name":"a","replicas":2},{"name":"b"}]`, "a 2 false, b 0 false"},
		"another, without /system/info":    {"", `[{"name":"a","replicas":2}]`, "a 2 false"},
		"another, with garbage for itself": {`[]`, `[{"name":"a"}]`, "a 0 false"},
	} {
		t.Run(name, func(t *testing.T) {
			answers := map[string]string{"/system/functions?namespace=openfaas-fn": test.list}
			if test.info != "" {
				answers["/system/info"] = test.info
			}
			list, err := gateway(t, answers).List(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range list.Functions {
				got = append(got, fmt.Sprint(f.Name, " ", f.Ready, " ", f.ReadyKnown))
			}
			if got := strings.Join(got, ", "); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}
