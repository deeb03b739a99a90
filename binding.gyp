{
  # node-gyp and prebuildify come in here; the build itself is CMakeLists.txt's, reached through one script.
  "targets": [
    {
      "target_name": "supersimplenet",
      "type": "none",
      "actions": [
        {
          "action_name": "build",
          "inputs": [],
          "outputs": ["<(module_root_dir)/build/never-written-so-always-run"],
          "action": ["node", "<(module_root_dir)/scripts/node-gyp.mjs"]
        }
      ]
    }
  ]
}
