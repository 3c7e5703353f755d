package faults

import "testing"

func TestTargets(t *testing.T) {
	tests := map[string]struct {
		target target
		result Result
		met    bool
	}{
		"back in time":              {back, Result{Normal: 3}, true},
		"back late":                 {back, Result{Normal: 3.2}, false},
		"never back":                {back, Result{Normal: -1}, false},
		"nobody noticed":            {unnoticed, Result{}, true},
		"an error here":             {unnoticed, Result{Here: Impact{Errors: map[string]int{"0": 1}}}, false},
		"an error there":            {unnoticed, Result{Others: Impact{Errors: map[string]int{"503": 1}}}, false},
		"an error under way":        {unnoticed, Result{Here: Impact{InFlight: map[string]int{"502": 1}}}, false},
		"an error of the bystander": {unnoticed, Result{Bystander: Impact{Errors: map[string]int{"502": 1}}}, false},
		"one under way there":       {unnoticed, Result{Bystander: Impact{InFlight: map[string]int{"502": 1}}}, false},
		"a little slower":           {undelayed, Result{Here: Impact{Delay: 25}}, true},
		"much slower":               {undelayed, Result{Here: Impact{Delay: 25.5}}, false},
		"much slower there":         {undelayed, Result{Others: Impact{Delay: 25.5}}, false},
		"others see nothing": {othersUnharmed, Result{
			Here:   Impact{Errors: map[string]int{"0": 9}},
			Others: Impact{InFlight: map[string]int{"502": 1}},
		}, true},
		"others see errors": {othersUnharmed, Result{Others: Impact{Errors: map[string]int{"403": 1}}}, false},
		"peers back":        {peersBack, Result{PeersAfter: 1}, true},
		"peers back late":   {peersBack, Result{PeersAfter: 1.1}, false},
		"peers never back":  {peersBack, Result{PeersAfter: -1}, false},
		"no reload":         {noReload, Result{}, true},
		"a reload":          {noReload, Result{Reloads: 1}, false},
		"nobody is asked":   {unasked, Result{UnaskedBefore: 50, UnaskedAfter: 31}, true},
		"not any more":      {unasked, Result{UnaskedBefore: 50, UnaskedAfter: 29}, false},
		"never was":         {unasked, Result{UnaskedAfter: 50}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if v := test.target(test.result); v.Met != test.met {
				t.Errorf("met = %v (%s: %s)", v.Met, v.Target, v.Measured)
			}
		})
	}
}
