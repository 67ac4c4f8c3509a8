"""`make stress`: the warehouse under load, kills and neighbours, compared with a reference after each round."""
