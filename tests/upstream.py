"""List what the rooms of methods/ rely on in other packages beyond their documented interfaces.

`USES` is the one list: tests/test_upstream.py checks that each entry is there, has the parameters
that are passed, is used, and that nothing else private is used. Each room's README shows its part;
`python -m tests.upstream` writes it there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
START, END = "<!-- upstream -->", "<!-- end of upstream -->"


@dataclass(frozen=True)
class Use:
    """One thing of another package.

    place: module:attribute. room: whose code uses it. purpose: for what. remedy: what to do when it
    goes. parameters: those that are passed or taken, by name. attribute: it exists on instances
    only, so that a test must look for it in the source of `place`.
    """

    place: str
    room: str
    purpose: str
    remedy: str
    parameters: tuple[str, ...] = ()
    attribute: str | None = None

    @property
    def name(self) -> str:
        """Return the last name of the place, or of the attribute."""
        return self.attribute or self.place.rpartition(":")[2].rpartition(".")[2]

    @property
    def package(self) -> str:
        return self.place.partition(":")[0].partition(".")[0]


def upstream(room: str, *rows: tuple) -> list[Use]:
    return [Use(place, room, purpose, remedy, *more) for place, purpose, remedy, *more in rows]


PACKED = "packing is found impossible at load; sequences are padded"
ONEDNN = "linear layers stay torch's (probed at load); give the operator's new name"
FOLLOW = "follow transformers' Trainer: tests/training/test_job.py shows what is lost"
COLUMN = "follow mteb's class; tests/evaluation shows which task type is concerned"

USES = [
    *upstream(
        "backbone",
        (
            "transformers:AttentionInterface.register",
            "the packed attention function",
            PACKED,
            ("key", "value"),
        ),
        (
            "transformers.modeling_utils:ALL_ATTENTION_FUNCTIONS",
            "whether the packed attention is registered",
            PACKED,
        ),
        (
            "torch.nn.attention.varlen:varlen_attn",
            "packed attention on CUDA; new, and its parameters still change",
            "found at load; flash-attn is used, else attention is padded",
            (
                *("query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"),
                *("return_aux", "scale", "window_size", "enable_gqa"),
            ),
        ),
        (
            "transformers:PreTrainedConfig",
            "the attention function that a model uses",
            "set it through set_attn_implementation, which is slower",
            (),
            "_attn_implementation",
        ),
        (
            "transformers:PreTrainedModel._supports_sdpa",
            "the attention function that computes two-sided windows by masks",
            "compute them by eager, which is slower",
        ),
        (
            "transformers:PreTrainedConfig",
            "the Hub commit of a model, for the record",
            "ask huggingface_hub.model_info for the commit",
            (),
            "_commit_hash",
        ),
        (
            "transformers.modeling_layers:GradientCheckpointingLayer",
            "tells a model's text layers from other lists",
            "choose the first list of as many modules as there are layers",
        ),
        (
            "transformers.modeling_gguf_pytorch_utils:get_gguf_hf_weights_map",
            "names of GGUF tensors that transformers converts",
            "compare the tensors' numbers instead",
            ("hf_model", "processor"),
        ),
        (
            "transformers.modeling_gguf_pytorch_utils:TENSOR_PROCESSORS",
            "the same, by architecture",
            "as above",
        ),
        ("transformers.modeling_gguf_pytorch_utils:TensorProcessor", "the same", "as above"),
        (
            "torch:ops.aten._scaled_dot_product_flash_attention_for_cpu",
            "normalisers of attention, to merge a shared prefix in",
            PACKED + " under causal attention",
            ("query", "key", "value", "dropout_p", "is_causal", "scale"),
        ),
        (
            "torch:ops.mkldnn._linear_pointwise",
            "linear layers prepacked for oneDNN",
            ONEDNN,
            ("X", "W", "B", "attr", "scalars", "algorithm"),
        ),
        (
            "torch:ops.mkldnn._reorder_linear_weight",
            "prepacks a weight",
            ONEDNN,
            ("self", "batch_size"),
        ),
        (
            "torch.nn:Module._save_to_state_dict",
            "prepacked layers save the plain weight",
            "use a state_dict hook",
            ("destination", "prefix", "keep_vars"),
        ),
        (
            "torch.nn:Module._load_from_state_dict",
            "prepacked layers load the plain weight",
            "use a load_state_dict pre-hook",
            ("state_dict", "prefix"),
        ),
        (
            "torch.nn:Module",
            "a model with other hooks is not the loaded one",
            "drop the check of hooks, or count them another way",
            (),
            "_forward_hooks",
        ),
        ("torch.nn:Module", "the same", "as above", (), "_forward_pre_hooks"),
        (
            "torch:Tensor._version",
            "a weight changed in place is not the loaded one",
            "compare digests of the weights",
        ),
        (
            "torch.utils._python_dispatch:TorchDispatchMode",
            "observes which rows of a position table are read",
            "take the positions from the config",
        ),
        (
            "torch.cpu:get_capabilities",
            "which kernels are fast, and whether bfloat16 is",
            "read /proc/cpuinfo",
        ),
    ),
    *upstream(
        "encoding",
        (
            "mteb.abstasks.abstask:get_abstask_prompt",
            "mteb's prompt for a task type",
            "copy the prompts from mteb's classes",
            ("task_name",),
        ),
        (
            "mteb.models.model_meta:ModelMeta.create_empty",
            "describes a model that mteb does not know",
            "fill mteb's ModelMeta field by field",
        ),
        ("mteb.similarity_functions:cos_sim", "mteb's encoder protocol", "compute it in numpy"),
        ("mteb.similarity_functions:pairwise_cos_sim", "the same", "as above"),
    ),
    *upstream(
        "evaluation",
        (
            "mteb.get_tasks:_TASKS_REGISTRY",
            "names of tasks, for suggestions",
            "take the names from mteb.get_tasks()",
        ),
        (
            "mteb._create_dataloaders:create_dataloader",
            "demo tasks and estimates encode as mteb's tasks do",
            "batch the texts in encode_column and encode_rows",
            ("dataset", "task_metadata", "input_column", "prompt_type"),
        ),
        (
            "mteb._evaluators.retrieval_metrics:calculate_retrieval_scores",
            "scores of single queries",
            "retrieval has no examples until pytrec_eval is called directly",
            ("results", "qrels", "k_values", "skip_first_result"),
        ),
        (
            "mteb.abstasks.retrieval_dataset_loaders:RetrievalSplitData",
            "the data of a demo task",
            "a plain dict has the same keys",
        ),
        (
            "mteb.abstasks:AbsTask._evaluate_subset",
            "demo tasks score in their own way",
            "follow mteb's new method in demo_tasks.py",
            ("model", "data_split", "hf_split", "hf_subset", "encode_kwargs"),
        ),
        (
            "mteb.abstasks:AbsTask.prediction_file_name",
            "values per example: {task}_predictions.json, subset -> split",
            "read_predictions follows the new file",
            (),
            "_predictions.json",
        ),
        (
            "mteb.cache:ResultCache.get_task_result_path",
            "folders by experiment_kwargs",
            "keep the folders' names, or old results are computed again",
            ("task_name", "model_name", "model_revision"),
        ),
        (
            "mteb.cache:ResultCache.save_to_cache",
            "result files are written whole",
            "follow the new method in AtomicResultCache",
            ("task_result", "model_name", "model_revision"),
        ),
        (
            "mteb.cache:ResultCache.load_task_result",
            "unreadable results count as none",
            "follow the new method in AtomicResultCache",
            ("task_name", "model_name"),
        ),
        (
            "mteb.abstasks:AbsTask.filter_languages",
            "subsets that were asked for",
            COLUMN,
            ("languages", "hf_subsets"),
        ),
        ("mteb.abstasks:AbsTask.filter_eval_splits", "splits that were asked for", COLUMN),
        (
            "mteb.abstasks:AbsTask.unload_data",
            "frees data and deletes the metadata",
            "drop keep_metadata",
        ),
        ("mteb.abstasks:AbsTask.fast_loading", "all subsets in one dataset", COLUMN),
        (
            "mteb.abstasks:AbsTaskRetrieval.convert_v1_dataset_format_to_v2",
            "retrieval data of mteb's first layout",
            "drop convert_old_layout",
            ("num_proc",),
        ),
        ("mteb.abstasks:AbsTaskRetrieval.ignore_identical_ids", "scores of queries", COLUMN),
        ("mteb.abstasks:AbsTaskRetrieval.skip_first_result", "scores of queries", COLUMN),
        ("mteb.abstasks:AbsTaskBitextMining._get_pairs", "columns of languages", COLUMN),
        ("mteb.abstasks:AbsTaskBitextMining.parallel_subsets", "columns of languages", COLUMN),
        ("mteb.abstasks:AbsTaskClassification.is_cross_validation", "what is trained on", COLUMN),
        ("mteb.abstasks:AbsTaskClassification.train_split", "what is trained on", COLUMN),
        ("mteb.abstasks:AbsTaskClassification.input_column_name", "the texts", COLUMN),
        ("mteb.abstasks:AbsTaskClassification.label_column_name", "the labels", COLUMN),
        ("mteb.abstasks:AbsTaskPairClassification.input1_column_name", "the texts", COLUMN),
        ("mteb.abstasks:AbsTaskPairClassification.input2_column_name", "the texts", COLUMN),
        ("mteb.abstasks:AbsTaskSTS.column_names", "the texts", COLUMN),
        (
            "mteb.abstasks:AbsTaskSummarization.human_summaries_column_name",
            "the texts",
            COLUMN,
        ),
        (
            "mteb.abstasks:AbsTaskSummarization.machine_summaries_column_name",
            "the texts",
            COLUMN,
        ),
        ("mteb.abstasks:AbsTaskSummarization.relevancy_column_name", "the scores", COLUMN),
        (
            "mteb.abstasks.aggregated_task:AbsTaskAggregate",
            "parts under names of their own",
            COLUMN,
            (),
            "taskname_to_task",
        ),
    ),
    *upstream(
        "interop",
        (
            "sentence_transformers.base.modules:Transformer",
            "the module of an exported folder",
            "follow sentence-transformers' module: tests/interop loads every kind of folder",
            ("model_name_or_path",),
        ),
        (
            "sentence_transformers.base.modules:Transformer.load_file_path",
            "finds a folder's files, on the Hub too",
            "find them by huggingface_hub",
            ("model_name_or_path", "filename", "subfolder"),
        ),
        (
            "transformers.dynamic_module_utils:get_relative_imports",
            "files of code beside a model are found by lines `from .NAME import`",
            "write a folder's code as one file",
            ("module_file",),
        ),
    ),
    *upstream(
        "training",
        (
            "transformers:Trainer._save",
            "adapters as checkpoints",
            FOLLOW,
            ("output_dir", "state_dict"),
        ),
        (
            "transformers:Trainer._load_from_checkpoint",
            "resuming from an adapter",
            FOLLOW,
            ("resume_from_checkpoint", "model"),
        ),
        ("transformers:Trainer._load_best_model", "the best checkpoint", FOLLOW),
        (
            "transformers:Trainer._save_checkpoint",
            "seconds and tokens so far; an error for a full disk",
            FOLLOW,
            ("model", "trial"),
        ),
        (
            "transformers:TrainingArguments.n_gpu",
            "one process trains on one card",
            "every visible card takes a copy of the model, and the batch is so many times as large",
            (),
            "_n_gpu",
        ),
        (
            "transformers:Trainer._get_train_sampler",
            "blocks in the order they were drawn",
            FOLLOW,
            ("train_dataset",),
        ),
        (
            "sentence_transformers.base.sampler:NoDuplicatesBatchSampler",
            "no text twice in a batch",
            "follow sentence-transformers' sampler",
            ("dataset", "batch_size", "drop_last", "valid_label_columns", "generator", "seed"),
        ),
        (
            "sentence_transformers.base.modules:Module",
            "a method as a module",
            "follow sentence-transformers' module",
        ),
        (
            "sentence_transformers:SentenceTransformerTrainer.add_model_card_callback",
            "no model card is written",
            "let it be written",
            ("default_args_dict",),
        ),
        (
            "sentence_transformers.sentence_transformer.losses:"
            "CachedMultipleNegativesRankingLoss.calculate_loss",
            "the loss of given vectors",
            "write it out: tests/training/test_losses.py holds it to its formula",
            ("reps", "labels"),
        ),
        (
            "sentence_transformers.sentence_transformer.losses:CachedMultipleNegativesRankingLoss",
            "symmetric losses",
            "as above",
            ("scale", "mini_batch_size", "gather_across_devices", "directions", "partition_mode"),
        ),
        (
            "peft.tuners.lora:LoraLayer",
            "LoRA reads its input in the dtype of autocast",
            "leave it: slower, the same within rounding",
            (),
            "cast_input_dtype_enabled",
        ),
    ),
    *upstream(
        "cli",
        (
            "hydra.core.override_parser.types:Override",
            "the value of an override as it was written",
            "parse the text after `=`",
            (),
            "_value",
        ),
        (
            "hydra.core.override_parser.types:QuotedString",
            "the text inside quotes",
            "strip the quotes",
        ),
    ),
]


def render(room: str) -> str:
    """Return a room's uses as a Markdown table."""
    lines = ["| what | used for | when it goes |", "|---|---|---|"]
    for use in USES:
        if use.room == room:
            where, _, what = use.place.partition(":")
            name = f"`{where}.{what}`" + (f", `{use.attribute}`" if use.attribute else "")
            lines.append(f"| {name} | {use.purpose} | {use.remedy} |")
    return "\n".join(lines)


def list_readmes() -> dict[str, Path]:
    """Return the rooms that have a README and use something, with its file."""
    rooms = dict.fromkeys(use.room for use in USES)
    found = {room: ROOT / "methods" / room / "README.md" for room in rooms}
    return {room: file for room, file in found.items() if file.is_file()}


def write() -> None:
    """Write every room's table into its README."""
    for room, file in list_readmes().items():
        text = file.read_text(encoding="utf-8")
        before, _, rest = text.partition(START)
        _, _, after = rest.partition(END)
        file.write_text(f"{before}{START}\n{render(room)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    write()
