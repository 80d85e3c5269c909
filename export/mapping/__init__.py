"""A model over many pictures: shard by shard, each written whole, on one machine or over a cluster."""
