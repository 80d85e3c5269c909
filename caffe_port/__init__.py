"""Caffe files in, torch modules out: the port proper. A "net" here is always a Caffe net."""
