# make demo [VIDEO=my.mp4] [PROMPT="a red star"]   learn a clip's motion in a real ComfyUI, write videos that carry it
# make test                                        every test: unit, in-host, over HTTP, in the browser
# make lint                                        style
# make tiny-model [MINUTES=130]                    train the demo's model anew, evaluate it (resumes when run again)
# make tiny-animatediff                            train the tiny AnimateDiff anew, judge it, prove that motions carry over
# make tiny-wan                                    train the tiny Wan anew, prove that motions carry over
# make benchmark [MANIFEST=my.yaml]                score motion-transfer methods; 40 minutes as it is, resumes
# make ablation                                    what each part of the method does; hours, resumes when run again
# make clean                                       remove what the runs made, keep the environment

.PHONY: demo test lint clean setup tiny-model tiny-animatediff tiny-wan benchmark ablation
MINUTES ?= 130
MANIFEST ?= benchmarks/protocols/tiny.yaml

setup:
	@demo/setup.sh

demo: setup
	@.venv/bin/python -m demo.run $(if $(VIDEO),--video "$$VIDEO") $(if $(PROMPT),--prompt "$$PROMPT")

test:
	@demo/setup.sh --browser
	OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 .venv/bin/python -m pytest --no-skips

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	@if ! command -v npm >/dev/null; then echo "lint: the JavaScript is not checked, for want of npm"; else \
		[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent --ignore-scripts --no-audit --no-fund; \
		npm run --silent lint && npm run --silent types; fi

tiny-model: setup
	.venv/bin/torchrun --nproc-per-node 2 -m demo.tiny_model.train --minutes $(MINUTES)
	.venv/bin/python -m demo.tiny_model.train_vae --minutes $$(( ($(MINUTES) + 9) / 10 ))
	.venv/bin/python -m demo.tiny_model.export
	.venv/bin/python -m demo.tiny_model.train_clip
	.venv/bin/python -m demo.tiny_model.evaluate demo/tiny_model/weights --out demo/output/evaluation

tiny-animatediff: setup
	.venv/bin/torchrun --nproc-per-node 2 -m demo.tiny_animatediff.pretrain image --minutes 45
	.venv/bin/torchrun --nproc-per-node 2 -m demo.tiny_animatediff.pretrain motion --batch 4 --minutes 57
	.venv/bin/python -m demo.tiny_animatediff.export
	.venv/bin/python -m demo.tiny_animatediff.evaluate --out demo/output/tiny_animatediff
	.venv/bin/python -m demo.tiny_animatediff.prove

tiny-wan: setup
	.venv/bin/torchrun --nproc-per-node 2 -m demo.tiny_wan.pretrain image --batch 64 --minutes 18
	.venv/bin/torchrun --nproc-per-node 2 -m demo.tiny_wan.pretrain motion --batch 8 --minutes 75
	.venv/bin/python -m demo.tiny_wan.export
	.venv/bin/python -m demo.tiny_wan.prove

benchmark: setup
	.venv/bin/python -m demo.host .cache/demo/comfyui
	.venv/bin/python -m motion_embedding.benchmark run "$(MANIFEST)" --base .cache/demo/comfyui

ablation: setup
	.venv/bin/python -m uv pip install --quiet --python .venv/bin/python -r pyproject.toml --extra ablation
	.venv/bin/python -m benchmarks.ablation

clean:
	rm -rf .cache .pytest_cache .ruff_cache demo/output
