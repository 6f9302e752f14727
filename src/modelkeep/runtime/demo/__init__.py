"""The main job on a real model, step by step, each in a process of its own, measured."""
