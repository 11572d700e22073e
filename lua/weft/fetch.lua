local M = {}
function M.fetch() error("fetch") end
return M
