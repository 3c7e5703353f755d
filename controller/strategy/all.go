package strategy

// all is the one list of strategies; a new one is added here and nowhere else.
func all() []Strategy {
	return []Strategy{headroom{}, quotas{}, recalc{}, static{}, random{}, allLocal{}}
}
