"""What the settings of `SSLConfig` may be, and what becomes of them.

ranges              which values each may have, and the names of those that are a choice
labels              which columns are labels, and what is predicted
batches             settings under which a joint batch would be cut
sharding            ways to spread a model over several GPUs: what works, and what is refused
training_arguments  what becomes of each setting of `TrainingArguments`
script_options      settings that are called like an option of a script
published           which settings are told with a model
"""
