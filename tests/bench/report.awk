# results.tsv -> a Markdown table for tests/README.md: medians over the rounds.
# Ratios are taken within a round, where the machine was in the same mood for
# both, and their median is shown.

BEGIN {
  FS = "\t"
  # What we ask of weft: ratios of CPU time, and KiB; at least, and the aim.
  target["hello"] = "weft / nginx 0.90 (0.75), weft / floor 1.25 (1.10)"
  target["pipelined"] = "weft / nginx 0.35 (0.20)"
  target["upstream"] = "weft / nginx 1.00 (0.75)"
  target["sleep"] = "8 KiB (4 KiB)"
  target["idle"] = "2 KiB (1 KiB)"
  text["sleep"] = "memory for each request that sleeps"
  text["idle"] = "memory for each idle connection"
}

!($2 in known) { known[$2] = 1; order[++cases] = $2; kind[$2] = $1 }

$1 == "cpu" {
  if ($4 > rounds[$2, $3])
    rounds[$2, $3] = $4
  for (i = 5; i <= NF; i++)
    value[$2, $3, i, $4] = $i
}

$1 == "memory" { bytes[$2, $3] = $4 }

function median(list, count,    i, j, held) {
  for (i = 2; i <= count; i++) {
    held = list[i]
    for (j = i - 1; j > 0 && list[j] > held; j--)
      list[j + 1] = list[j]
    list[j + 1] = held
  }
  return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2
}

function typical(name, server, field,    list, i) {
  for (i = 1; i <= rounds[name, server]; i++)
    list[i] = value[name, server, field, i] + 0
  return median(list, rounds[name, server])
}

function cell(name, server, format, field, scale) {
  if (!((name, server) in rounds) || value[name, server, field, 1] == "-")
    return "–"
  return sprintf(format, typical(name, server, field) * scale)
}

function ratio(name, one, other,    list, i) {
  if (!((name, one) in rounds) || !((name, other) in rounds))
    return "–"
  for (i = 1; i <= rounds[name, one]; i++)
    list[i] = value[name, one, 5, i] / value[name, other, 5, i]
  return sprintf("%.2f", median(list, rounds[name, one]))
}

function row(name, what, weft, nginx, floor, ratios, wanted) {
  printf "| %s | %s | %s | %s | %s | %s | %s |\n", name, what, weft, nginx, floor, ratios, wanted
}

function plain(name, what, format, field, scale) {
  row("", what, cell(name, "weft", format, field, scale), \
    cell(name, "nginx", format, field, scale), cell(name, "floor", format, field, scale), \
    " |  | ", "")
}

function share(name, server,    user) {
  if (!((name, server) in rounds))
    return "–"
  user = typical(name, server, 6) * 100
  return sprintf("%.0f + %.0f %%", user, 100 - user)
}

function kib(name, server) {
  return (name, server) in bytes ? sprintf("%.2f KiB", bytes[name, server] / 1024) : "–"
}

END {
  print "| case | figure | weft | nginx + Lua | floor | weft / nginx | weft / floor | nginx / floor | target (aim) |"
  print "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
  for (c = 1; c <= cases; c++) {
    name = order[c]
    if (kind[name] == "memory") {
      row(name, text[name], kib(name, "weft"), kib(name, "nginx"), kib(name, "floor"), " |  | ", \
        target[name])
      continue
    }
    row(name, "CPU for each request", cell(name, "weft", "%.2f µs", 5, 1), \
      cell(name, "nginx", "%.2f µs", 5, 1), cell(name, "floor", "%.2f µs", 5, 1), \
      ratio(name, "weft", "nginx") " | " ratio(name, "weft", "floor") " | " \
      ratio(name, "nginx", "floor"), target[name])
    row("", "user + system", share(name, "weft"), share(name, "nginx"), share(name, "floor"), \
      " |  | ", "")
    plain(name, "requests each second", "%.0f", 7, 1)
    if (name != "pipelined") {
      plain(name, "latency, p50", "%.2f ms", 8, 0.001)
      plain(name, "latency, p99", "%.2f ms", 9, 0.001)
    }
  }
}
