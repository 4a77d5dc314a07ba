"""Kafka: how to reach it, its topics, and Faust's transport made fit."""
