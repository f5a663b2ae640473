// What keeps the page's modules small and free of TissUUmaps' globals: only viewer.js and viewer/ may name them.
import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    files: ["**/SIC_page/**/*.js"],
    languageOptions: { ecmaVersion: 2022, sourceType: "module", globals: globals.browser },
  },
  {
    files: ["**/SIC.js"],
    languageOptions: { ecmaVersion: 2022, sourceType: "script", globals: globals.browser },
  },
  {
    files: ["**/javascript/*.js"],
    languageOptions: { ecmaVersion: 2022, sourceType: "module", globals: globals.node },
  },
  {
    rules: {
      eqeqeq: "error",
      "max-lines": ["error", 420],
      "no-shadow": "error",
      "no-undef": "error",
      "no-unused-vars": "error",
      "no-var": "error",
      "prefer-const": "error",
    },
  },
  {
    // A comment cannot let TissUUmaps' globals in elsewhere.
    ignores: ["**/viewer.js", "**/viewer/*.js"],
    linterOptions: { noInlineConfig: true },
  },
];
