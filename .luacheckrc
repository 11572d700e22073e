std = "luajit"
max_line_length = 100
self = false
ignore = { "581" } -- `not (x >= 0)` refuses a NaN as well, which `x < 0` would let through
files["tests"] = { std = "+busted" }
