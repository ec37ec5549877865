"""The embedding principle in width: homogeneous networks, their splitting into wider ones, and what it preserves."""
