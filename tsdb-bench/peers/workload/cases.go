package workload

// Matcher is a condition on a label.
type Matcher struct {
	Name, Operator, Value string
}

// cases are the selections that are measured; their number is their place.
var cases = [][]Matcher{
	{{"node", "=", "node-0003"}},
	{{"__name__", "=", "container_cpu_rss"}},
	{{"__name__", "=", "container_cpu_rss"}, {"namespace", "=", "team-7"}},
	{{"__name__", "=", "container_cpu_rss"}, {"namespace", "=~", "team-1.*"}},
	{{"__name__", "=", "container_cpu_rss"}, {"namespace", "!=", "team-7"}},
	{{"__name__", "=", "container_cpu_rss"}, {"pod", "=~", "app-1.*-.*"}},
	{{"pod", "=~", ".*abc.*"}},
	{{"__name__", "=~", "container_cpu_.*|container_memory_rss"}, {"node", "=", "node-0003"}},
	{{"node", "=~", "node-00(1|2|3)[0-9]"}, {"namespace", "!~", "team-(1|2|3).*"}},
	{{"job", "=", "kubelet"}, {"pod", "=", ""}},
}

// scanned are the cases whose samples are decoded too.
var scanned = []int{1, 2, 3, 4}

func text(matchers []Matcher) string {
	out := "{"
	for i, m := range matchers {
		if i > 0 {
			out += ","
		}
		out += m.Name + m.Operator + `"` + m.Value + `"`
	}
	return out + "}"
}
