-- A first app: three middleware around one view. `make run` serves it.
-- Each middleware is there in both shapes, as a function and as a class; put "_class" behind a
-- name to use the other one.
local weft = require "weft"
local app = weft.app()

app:use "middleware.before_after"
app:use "middleware.custom_header"
app:use "middleware.logging"

app:get("/", function() return "Hello, World!" end)

return app
