// Writes cases of Prometheus' relabeling: rules, labels before, labels after.
package main

import (
	"bufio"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

var (
	actions = []relabel.Action{
		relabel.Replace, relabel.Replace, relabel.Replace, relabel.Keep, relabel.Drop, relabel.KeepEqual, relabel.DropEqual,
		relabel.HashMod, relabel.LabelMap, relabel.LabelDrop, relabel.LabelKeep, relabel.Lowercase, relabel.Uppercase,
	}
	names   = []string{"__name__", "job", "instance", "zone", "__meta_pod", "__meta_node", "a", "b", "é", "with.dot", "missing"}
	values  = []string{"", "up", "node", "a:9100", "b:9100", "eu-west-1", "EU", "x;y", "line\nbreak", "ÄÖß straße", "ǆ İ ŉ ᾳ ᾼ σς", "0", "$1", "é中"}
	regexes = []string{
		"(.*)", "(.*)", ".*", ".+", "", "up|node", "(.+):(\\d+)", "([^-]+)-([^-]+)-(\\d)", "(?P<host>[a-z]+)(?::(?P<port>\\d+))?",
		"__meta_(.+)", "a|b|job", "(a)(b)?", "(?i)eu.*", "x;y", "(.)(.*)", "[a-z_]+", "é.*", "job|instance|__name__", "line.break", "(.+);(.+)",
	}
	templates = []string{
		"$1", "$1", "${1}", "$2", "${host}", "$host-$port", "${port}", "", "fixed", "$$1", "$", "x$", "${", "${1", "$1x", "${1}x", "$0", "$01", "$10",
		"$1_$2", "a-$1", "$é", "${1}$1", "new_$1", "$_1", "${}", "x${-}y", "$99999999999",
	}
	targets    = []string{"job", "zone", "a", "t", "new_$1", "${1}", "$2", "${host}_label", "é", "x.y"}
	separators = []string{";", ";", "", ",", "--"}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.Intn(len(from))] }

func some(r *rand.Rand) *relabel.Config {
	c := relabel.DefaultRelabelConfig
	c.Action = pick(r, actions)
	c.NameValidationScheme = model.UTF8Validation
	for i := r.Intn(3); i > 0; i-- {
		c.SourceLabels = append(c.SourceLabels, model.LabelName(pick(r, names)))
	}
	switch c.Action {
	case relabel.Replace:
		c.Separator = pick(r, separators)
		c.Regex = relabel.MustNewRegexp(pick(r, regexes))
		c.Replacement = pick(r, templates)
		c.TargetLabel = pick(r, targets)
	case relabel.Keep, relabel.Drop:
		c.Separator = pick(r, separators)
		c.Regex = relabel.MustNewRegexp(pick(r, regexes))
	case relabel.KeepEqual, relabel.DropEqual:
		c.TargetLabel = pick(r, names)
	case relabel.HashMod:
		c.Separator = pick(r, separators)
		c.Modulus = []uint64{1, 2, 7, 1000, 1 << 63, 18446744073709551615}[r.Intn(6)]
		c.TargetLabel = pick(r, names)
	case relabel.LabelMap:
		c.SourceLabels = nil
		c.Regex = relabel.MustNewRegexp(pick(r, regexes))
		c.Replacement = pick(r, templates)
	case relabel.LabelDrop, relabel.LabelKeep:
		c.SourceLabels = nil
		c.Regex = relabel.MustNewRegexp(pick(r, regexes))
	case relabel.Lowercase, relabel.Uppercase:
		c.Separator = pick(r, separators)
		c.TargetLabel = pick(r, names)
	}
	return &c
}

func text(pairs ...string) string {
	var parts []string
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			parts = append(parts, strconv.Quote(pairs[i])+"="+strconv.Quote(pairs[i+1]))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func set(l labels.Labels) string {
	var pairs []string
	l.Range(func(l labels.Label) { pairs = append(pairs, l.Name, l.Value) })
	return text(pairs...)
}

func main() {
	f, err := os.Create("relabel.txt")
	if err != nil {
		panic(err)
	}
	w := bufio.NewWriter(f)
	r := rand.New(rand.NewSource(7))
	for n := 0; n < 600; {
		var rules []*relabel.Config
		for i := 1 + r.Intn(3); i > 0; i-- {
			rules = append(rules, some(r))
		}
		b := labels.NewBuilder(labels.EmptyLabels())
		for i := 1 + r.Intn(6); i > 0; i-- {
			b.Set(pick(r, names[:len(names)-1]), pick(r, values))
		}
		in := b.Labels()
		valid := !in.IsEmpty()
		for _, c := range rules {
			valid = valid && c.Validate(model.UTF8Validation) == nil
		}
		if !valid {
			continue
		}
		lb := labels.NewBuilder(in)
		keep := relabel.ProcessBuilder(lb, rules...)
		out := lb.Labels()
		nameless := false
		out.Range(func(l labels.Label) { nameless = nameless || l.Name == "" })
		if keep && (out.IsEmpty() || nameless) {
			continue
		}
		for _, c := range rules {
			var sources []string
			for _, s := range c.SourceLabels {
				sources = append(sources, string(s))
			}
			fmt.Fprintln(w, "rule", text("action", string(c.Action), "source_labels", strings.Join(sources, ","), "separator", c.Separator,
				"regex", c.Regex.String(), "modulus", strconv.FormatUint(c.Modulus, 10), "target_label", c.TargetLabel, "replacement", c.Replacement))
		}
		fmt.Fprintln(w, "in", set(in))
		if keep {
			fmt.Fprintln(w, "out", set(out))
		} else {
			fmt.Fprintln(w, "out")
		}
		fmt.Fprintln(w)
		n++
	}
	w.Flush()
	f.Close()
}
