--- JSON: `json.encode(value)`, `json.decode(text)`, `json.null`, `json.array(t)`, `json.object(t)`.
-- The codec is C (runtime/vm/json.h); as `weft.json`, the module is also the short way to a JSON
-- response: `weft.json(value)`.

return require("weft.core").json
