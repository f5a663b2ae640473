// TissUUmaps' globals, which have no types; that only viewer.js names them is ESLint's to see.
declare const $: any, OpenSeadragon: any, d3: any;
declare const dataUtils: any, glUtils: any, interfaceUtils: any, overlayUtils: any, projectUtils: any, regionUtils: any, tmapp: any;
interface Window { SIC?: any }
