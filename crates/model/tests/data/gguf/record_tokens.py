"""Records tokens.json: a small byte-level BPE vocabulary, texts, and their token ids by llama.cpp for each pre-tokenizer.

Run once by hand (pip install gguf tokenizers numpy; npm install node-llama-cpp); the tests read the file alone.
TEXTS.json is a list of texts of one's own: questions of a benchmark stay out of the repository. The vocabulary that
tokens.json holds was trained on one text more, which is such a question and not kept.
Usage: record_tokens.py DIRECTORY_WITH_NODE_MODULES TEXTS.json tokens.json
"""
import json, pathlib, subprocess, sys, tempfile
import gguf, numpy
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

node, texts_path, out = sys.argv[1:]
texts = json.load(open(texts_path))
tokenizer = Tokenizer(models.BPE())
# Words with their digits, so that merges cross every border that the pre-tokenizers draw differently.
tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Split(" ", "merged_with_next"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
plain = [t for t in texts if "<|" not in t and "<think>" not in t]
tokenizer.train_from_iterator(plain * 3 + [t.replace("'", " '") for t in plain], trainer)
model = json.loads(tokenizer.to_str())["model"]
vocabulary = sorted(model["vocab"], key=model["vocab"].get)
merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
special = [("<|endoftext|>", 3), ("<|im_start|>", 3), ("<|im_end|>", 3), ("<think>", 4), ("</think>", 4), ("[PAD605]", 5)]
tokens = vocabulary + [token for token, _ in special]
types = [1] * len(vocabulary) + [kind for _, kind in special]
script = """
import {getLlama} from "node-llama-cpp"; import fs from "fs";
const [file, texts] = process.argv.slice(-2);
const llama = await getLlama({gpu: false, build: "never", logLevel: "disabled"});
const model = await llama.loadModel({modelPath: file, vocabOnly: true});
const ids = JSON.parse(fs.readFileSync(texts, "utf8")).map(text => Array.from(model.tokenize(text, true)));
fs.writeFileSync(file + ".json", JSON.stringify(ids)); process.exit(0);
"""
tokenise = pathlib.Path(node) / "tokenise.mjs"
tokenise.write_text(script)
ids = {}
for pre in ["smollm", "qwen2", "llama-bpe", "gpt-2"]:
    path = pathlib.Path(tempfile.mkdtemp()) / "vocabulary.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1); writer.add_context_length(64); writer.add_embedding_length(32)
    writer.add_feed_forward_length(32); writer.add_head_count(1); writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2"); writer.add_tokenizer_pre(pre); writer.add_token_list(tokens)
    writer.add_token_merges(merges); writer.add_token_types(types)
    writer.add_bos_token_id(len(vocabulary) + 1); writer.add_eos_token_id(len(vocabulary) + 2)
    writer.add_add_bos_token(False)
    writer.add_tensor("token_embd.weight", numpy.zeros((len(tokens), 32), numpy.float32))
    writer.write_header_to_file(); writer.write_kv_data_to_file(); writer.write_tensors_to_file(); writer.close()
    subprocess.run(["node", str(tokenise), str(path), texts_path], check=True)
    ids[pre] = json.load(open(f"{path}.json"))
    print(pre, sum(map(len, ids[pre])), "tokens")
json.dump({"tokens": tokens, "merges": merges, "types": types, "texts": texts, "ids": ids}, open(out, "w"),
          ensure_ascii=False, separators=(",", ":"))
