"""From "the bias moved" to "this repairs it": candidates, search, confirmation on fresh seeds."""
