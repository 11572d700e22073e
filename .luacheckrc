std = "luajit"
max_line_length = 100
self = false
files["tests"] = { std = "+busted" }
